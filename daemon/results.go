package daemon

import (
	"context"
	"errors"

	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// BuildPathsWithResults makes the paths valid, by building or by substitution, and says of
// each how that ended, in the order in which they were given. The error says that it could
// not be tried. Without the setting keep-going, Nix 2.34 says nothing of paths that it gave up
// because another failed.
//
// Before protocol 1.34 the daemon fails with the first path that fails. Then a path is
// Built or Substituted if it is valid afterwards, AlreadyValid if it was before, and else
// has failed, for the reason that the daemon gave for all.
func (c *Conn) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	req := &protocol.BuildPathsWithResultsRequest{Paths: paths, Mode: mode}
	if c.params.Check(req.Op()) != nil {
		return c.buildAndLook(ctx, paths, mode)
	}
	reply, err := ask[protocol.BuildPathsWithResultsReply](ctx, c, req)
	if err != nil {
		return nil, err
	}
	return inOrder(reply.Results, paths), nil
}

// inOrder puts results into the order of the paths. A result that belongs to none of them,
// as when a daemon spells a path differently, comes last.
func inOrder(results []store.KeyedBuildResult, paths []derivation.DerivedPath) []store.KeyedBuildResult {
	byPath := make(map[string]store.KeyedBuildResult, len(results))
	for _, r := range results {
		byPath[r.Path.String()] = r
	}
	ordered := make([]store.KeyedBuildResult, 0, len(results))
	known := make(map[string]bool, len(paths))
	for _, p := range paths {
		known[p.String()] = true
		if r, ok := byPath[p.String()]; ok {
			ordered = append(ordered, r)
		}
	}
	for _, r := range results {
		if !known[r.Path.String()] {
			ordered = append(ordered, r)
		}
	}
	return ordered
}

// buildAndLook builds, and finds out from what is valid before and after how it ended.
func (c *Conn) buildAndLook(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	before, err := c.lookAll(ctx, paths)
	if err != nil {
		return nil, err
	}
	var failed *store.BuildError
	if err := c.BuildPaths(ctx, paths, mode); err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	after, err := c.lookAll(ctx, paths)
	if err != nil && failed != nil { // the daemon has hung up: what it refused before work is nobody's result
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	results := make([]store.KeyedBuildResult, len(paths))
	for i, p := range paths {
		results[i] = store.KeyedBuildResult{Path: p, BuildResult: store.BuildResult{Outputs: after[i].outputs}}
		r := &results[i].BuildResult
		switch _, built := p.(derivation.Built); {
		case failed != nil && (!after[i].valid || mode == store.BuildCheck):
			r.Status, r.Message, r.Outputs = store.MiscFailure, failed.Err.Error(), nil
		case before[i].valid:
			r.Status = store.AlreadyValid
		case built:
			r.Status = store.Built
		default:
			r.Status = store.Substituted
		}
	}
	return results, nil
}

// A look is what is to be seen of a path that is to be built.
type look struct {
	valid   bool
	outputs map[string]store.Realisation // those that are wanted and known, of a derivation
}

func (c *Conn) lookAll(ctx context.Context, paths []derivation.DerivedPath) ([]look, error) {
	looks := make([]look, len(paths))
	for i, p := range paths {
		var err error
		if looks[i], err = c.look(ctx, p); err != nil {
			return nil, err
		}
	}
	return looks, nil
}

func (c *Conn) look(ctx context.Context, p derivation.DerivedPath) (look, error) {
	switch p := p.(type) {
	case derivation.Opaque:
		valid, err := c.IsValidPath(ctx, p.Path)
		return look{valid: valid}, err
	case derivation.Built:
		if drv, ok := p.Drv.(derivation.Opaque); ok {
			return c.lookOutputs(ctx, drv.Path, p.Outputs)
		}
	}
	return look{}, nil
}

// lookOutputs looks for outputs of a derivation.
func (c *Conn) lookOutputs(ctx context.Context, drv storepath.Path, wanted derivation.OutputsSpec) (look, error) {
	l := look{valid: true}
	if valid, err := c.IsValidPath(ctx, drv); err != nil || !valid {
		return look{}, err // it may yet be substituted
	}
	outputs, err := c.QueryDerivationOutputMap(ctx, drv)
	if err != nil {
		return look{}, err
	}
	l.outputs = make(map[string]store.Realisation)
	for name, path := range outputs {
		if !wanted.All() && !wanted.Names().Has(name) {
			continue
		}
		valid := false
		if path != "" {
			if valid, err = c.IsValidPath(ctx, path); err != nil {
				return look{}, err
			}
		}
		if valid {
			l.outputs[name] = store.Realisation{OutPath: path}
		}
		l.valid = l.valid && valid
	}
	return l, nil
}

// BuildDerivation builds a derivation that need not be in the store. Its inputs must be
// valid and be among its input sources, and it has no input derivations. A daemon takes one
// whose outputs are input-addressed from trusted users only ([*protocol.TrustError]), and
// before protocol 1.24 any. That the build failed is no error, but a status.
func (c *Conn) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	req := &protocol.BuildDerivationRequest{Path: path, Derivation: d, Mode: mode}
	reply, err := ask[protocol.BuildDerivationReply](ctx, c, req)
	if err != nil {
		return nil, err
	}
	return &reply.Result, nil
}
