package substitute

import (
	"context"
	"fmt"
	"io"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// The longest derivations that were ever seen have a few megabytes. In memory one may take six
// times its length.
const (
	maxDerivation   = 32 << 20 // bytes
	largeDerivation = 1 << 20  // of those that are longer there is one at a time
)

// A drvReader is a store of which the derivations are read in turn, if they are large.
type drvReader struct {
	store.Store
	turn chan struct{}
	held bool
}

func (s *Store) newDrvReader() *drvReader { return &drvReader{Store: s.Store, turn: s.large} }

// Unwrap returns the store that is read.
func (r *drvReader) Unwrap() store.Store { return r.Store }

// NARFromPath implements [store.NARReader].
func (r *drvReader) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := r.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	if info.NARSize > maxDerivation {
		return nil, fmt.Errorf("derivation '%s' has %d bytes, at most %d are read", path, info.NARSize, maxDerivation)
	}
	if info.NARSize > largeDerivation && !r.held {
		select {
		case r.turn <- struct{}{}:
			r.held = true
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return store.ReadNAR(ctx, r.Store, path)
}

// release is for who has let go of what was read.
func (r *drvReader) release() {
	if r.held {
		<-r.turn
		r.held = false
	}
}

// allowsSubstitutes reports whether outputs of a valid derivation may come from elsewhere.
func (r *drvReader) allowsSubstitutes(ctx context.Context, drv storepath.Path) (bool, error) {
	defer r.release()
	text, err := store.Derivations(r).LoadDerivation(ctx, drv)
	if err != nil {
		return false, err
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		return false, err
	}
	if kind, err := d.Kind(); err != nil || kind == derivation.Impure {
		return false, err
	}
	return d.AllowsSubstitutes()
}
