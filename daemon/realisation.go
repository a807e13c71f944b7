package daemon

import (
	"context"
	"fmt"

	"pix/protocol"
	"pix/store"
)

// QueryRealisation returns the path that an output of a derivation has got. The error is
// [store.ErrNotFound] if the daemon does not know, and [errors.ErrUnsupported] before
// protocol 1.31. Which of the derivation's path and hash is asked for depends on the
// daemon: see [store.DrvOutput].
func (c *Conn) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	reply, err := ask[protocol.QueryRealisationReply](ctx, c, &protocol.QueryRealisationRequest{ID: output})
	if err != nil {
		return nil, err
	}
	if reply.Realisation == nil {
		return nil, &noRealisation{output}
	}
	return &reply.Realisation.Realisation, nil
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

// RegisterDrvOutput tells the daemon which path an output of a derivation has got. The
// error is [errors.ErrUnsupported] before protocol 1.31.
func (c *Conn) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	_, err := ask[protocol.None](ctx, c, &protocol.RegisterDrvOutputRequest{Realisation: r})
	return err
}
