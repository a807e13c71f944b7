package daemon

import (
	"context"
	"fmt"

	"pix/protocol"
	"pix/store"
)

// QueryRealisation returns the path that an output of a derivation has got. The error is
// [store.ErrNotFound] if the daemon does not know, and [errors.ErrUnsupported] before protocol 1.31.
//
// A daemon with the feature [protocol.RealisationWithPath] is asked for the path of the derivation, which
// must be a resolved one, and any other daemon for its hash: see [store.DrvOutput]. If what it needs is
// missing, the error is a [*store.UnnamedOutputError]. [store.QueryRealisation] computes a missing hash.
func (c *Conn) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	if err := c.checkOutput(output); err != nil {
		return nil, err
	}
	reply, err := ask[protocol.QueryRealisationReply](ctx, c, &protocol.QueryRealisationRequest{ID: output})
	if err != nil {
		return nil, err
	}
	if reply.Realisation == nil {
		return nil, &noRealisation{output}
	}
	return &reply.Realisation.Realisation, nil
}

// checkOutput returns an error if an output lacks the name by which the daemon knows its derivation.
func (c *Conn) checkOutput(id store.DrvOutput) error {
	switch byPath := c.params.Features.Has(protocol.RealisationWithPath); {
	case byPath && id.Path == "":
		return &store.UnnamedOutputError{Output: id.Output, Lacks: "path"}
	case !byPath && id.Hash.IsZero() && c.params.Check(protocol.QueryRealisation) == nil:
		return &store.UnnamedOutputError{Output: id.Output, Lacks: "hash"}
	}
	return nil
}

// A noRealisation says that the path of an output is not known.
type noRealisation struct{ output store.DrvOutput }

func (e *noRealisation) Error() string {
	drv := string(e.output.Path)
	if drv == "" {
		drv = e.output.Hash.WithBase16()
	}
	return fmt.Sprintf("the path of output %s of '%s' is not known", e.output.Output, drv)
}

// Is reports whether target is [store.ErrNotFound].
func (e *noRealisation) Is(target error) bool { return target == store.ErrNotFound }

// RegisterDrvOutput tells the daemon which path an output of a derivation has got. See [Conn.QueryRealisation]
// for the names of outputs and the errors.
func (c *Conn) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if err := c.checkOutput(r.ID); err != nil {
		return err
	}
	_, err := ask[protocol.None](ctx, c, &protocol.RegisterDrvOutputRequest{Realisation: r})
	return err
}
