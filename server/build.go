package server

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

func (c *conn) buildPaths(ctx context.Context, req *protocol.BuildPathsRequest) (*protocol.Ack, error) {
	return new(protocol.Ack), withoutBuildError(store.BuildPaths(ctx, c.store, req.Paths, req.Mode))
}

// withoutBuildError removes the outer BuildError, which names the paths that the client asked
// for. The client adds them itself.
func withoutBuildError(err error) error {
	var failed *store.BuildError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

func (c *conn) buildPathsWithResults(ctx context.Context, req *protocol.BuildPathsWithResultsRequest) (*protocol.BuildPathsWithResultsReply, error) {
	results, err := store.BuildPathsWithResults(ctx, c.store, req.Paths, req.Mode)
	if err == nil {
		return &protocol.BuildPathsWithResultsReply{Results: c.withOutputs(ctx, results)}, nil
	}
	b, ok := store.As[store.Builder](c.store)
	if !ok || !errors.Is(err, errors.ErrUnsupported) {
		return nil, withoutBuildError(err)
	}
	reply := new(protocol.BuildPathsWithResultsReply)
	for _, path := range req.Paths {
		err := withoutBuildError(b.BuildPaths(ctx, []derivation.DerivedPath{path}, req.Mode))
		if errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil {
			return nil, err
		}
		reply.Results = append(reply.Results, c.resultOf(ctx, path, err))
	}
	reply.Results = c.withOutputs(ctx, reply.Results)
	return reply, nil
}

// withOutputs completes results for the client. It removes outputs without a path, since the
// protocol cannot express them.
func (c *conn) withOutputs(ctx context.Context, results []store.KeyedBuildResult) []store.KeyedBuildResult {
	for i := range results {
		r := &results[i]
		for name, output := range r.Outputs {
			if output.OutPath == "" {
				delete(r.Outputs, name)
			}
		}
		built, ok := r.Path.(derivation.Built)
		if !ok {
			continue
		}
		if drv, ok := built.Drv.(derivation.Opaque); ok && c.wantsDrvHash(&r.BuildResult) {
			r.DrvHash = c.drvHash(ctx, drv.Path)
		}
	}
	return results
}

// wantsDrvHash reports whether the client needs the hash of the derivation and the store did not
// return it.
func (c *conn) wantsDrvHash(r *store.BuildResult) bool {
	return len(r.Outputs) > 0 && r.DrvHash.IsZero() && !c.params.Features.Has(protocol.RealisationWithPath)
}

// drvHash returns the modulo hash of a valid derivation, or the zero value if the store does
// not know it. The result is valid without it. Only build-remote of Nix up to 2.34 uses it.
func (c *conn) drvHash(ctx context.Context, drv storepath.Path) (hash nixhash.Hash) {
	if h, ok := store.As[store.DrvHasher](c.store); ok {
		hash, _ = h.DrvHash(ctx, drv)
	}
	return hash
}

// derivationHash returns the modulo hash of a derivation without input derivations, or the zero
// value if it has none.
func derivationHash(d *derivation.Derivation) nixhash.Hash {
	none := func(storepath.Path) (h derivation.ModuloHash, ok bool) { return h, false }
	h, err := d.HashModulo(derivation.ForOutputs, none, nil)
	if err != nil {
		return nixhash.Hash{}
	}
	return h.Hash
}

// resultOf returns the result of building a path, for a store that returns only an error.
func (c *conn) resultOf(ctx context.Context, path derivation.DerivedPath, failed error) store.KeyedBuildResult {
	r := store.KeyedBuildResult{Path: path}
	if failed != nil {
		r.Status, r.Message = store.MiscFailure, clientError(failed).Message
		return r
	}
	r.Status = store.AlreadyValid // the store does not tell whether it was built just now
	if present, err := store.PresentResult(ctx, c.store, path); err == nil {
		r.Outputs = present.Outputs
	}
	return r
}

// buildDerivation builds a derivation that need not be in the store. If the client is untrusted, it
// first adds the derivation to the store under the path that follows from its contents, because the
// client may have sent another path.
func (c *conn) buildDerivation(ctx context.Context, req *protocol.BuildDerivationRequest) (*protocol.BuildDerivationReply, error) {
	b, ok := store.As[store.DerivationBuilder](c.store)
	if !ok {
		return nil, unsupportedOperation("buildDerivation")
	}
	path := req.Path
	if !c.privileged {
		var err error
		if path, err = c.writeDerivation(ctx, req.Derivation); err != nil {
			return nil, err
		}
	}
	result, err := b.BuildDerivation(ctx, path, req.Derivation, req.Mode)
	if err != nil {
		return nil, withoutBuildError(err)
	}
	if c.wantsDrvHash(result) {
		result.DrvHash = derivationHash(req.Derivation)
	}
	return &protocol.BuildDerivationReply{Result: *result}, nil
}

func (c *conn) writeDerivation(ctx context.Context, d *derivation.Derivation) (storepath.Path, error) {
	if err := d.Validate(); err != nil {
		return "", err
	}
	return store.AddText(ctx, c.store, d.Name+storepath.DerivationExt, string(d.AppendATerm(nil)), d.References().Slice())
}

// ensurePath succeeds for a valid path even if the store is not an Ensurer.
func (c *conn) ensurePath(ctx context.Context, req *protocol.EnsurePathRequest) (*protocol.Ack, error) {
	if e, ok := store.As[store.Ensurer](c.store); ok {
		return new(protocol.Ack), e.EnsurePath(ctx, req.Path)
	}
	valid, err := c.store.IsValidPath(ctx, req.Path)
	if err == nil && !valid {
		err = fmt.Errorf("path '%s' does not exist and cannot be created", req.Path)
	}
	return new(protocol.Ack), err
}

// submitOutput accepts an output of a build. Only the store of a running build supports it.
func (c *conn) submitOutput(ctx context.Context, req *protocol.SubmitOutputRequest) (*protocol.Ack, error) {
	s, ok := store.As[store.OutputSubmitter](c.store)
	if !ok {
		return nil, unsupportedOperation("submitOutput")
	}
	return new(protocol.Ack), s.SubmitOutput(ctx, req.Path, req.Output)
}
