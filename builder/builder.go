package builder

import (
	"context"
	"errors"

	"pix/store"
)

// A Builder builds derivations into a store. Its methods may be called by any number of goroutines at once.
type Builder struct {
	store Store
	opts  Options
}

// New returns a builder for a store. It starts nothing, and is cheap enough to be called for each client. The options
// must not be changed afterwards.
func New(s Store, o *Options) *Builder {
	b := &Builder{store: s}
	if o != nil {
		b.opts = *o
	}
	return b
}

// Build builds one derivation, and registers its outputs. It waits while another process builds it, and then
// returns [store.AlreadyValid].
//
// A build that failed is a result with its status and its message. An error ends the whole request of the client: a
// derivation that asks for something impossible, a machine that cannot build, an error of the store, or the end of ctx. When
// Build returns, no process of the build is left.
func (b *Builder) Build(ctx context.Context, req *Request) (*store.BuildResult, error) {
	return nil, errors.New("not built yet")
}
