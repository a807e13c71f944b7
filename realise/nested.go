package realise

import (
	"context"
	"net"

	"pix/builder"
	"pix/store"
)

// A builder with the feature recursive-nix builds in the same store, while its own build runs. Its calls have the
// settings of the call that builds it, and all their builds end before its build does.
//
// Such a builder waits while its builds run. So a build that it asks for may use its slot: with one slot, both would
// otherwise wait for ever.

// maxNested limits how deep builds are nested. Each level keeps a process, a build user and a directory.
const maxNested = 16

// A nesting is a running build that may ask for others.
type nesting struct {
	outer    *nesting // the build that has asked for this one, or nil
	depth    int
	req      *builder.Request
	settings *Settings
	slot     chan struct{} // has a value while no inner build uses the slot of the build
}

// serveStore returns the function that serves the store to the builder of a request, or nil if the settings have none.
func (c *call) serveStore(req *builder.Request, settings *Settings) func(context.Context, net.Listener, *builder.Scope) error {
	if settings.Serve == nil {
		return nil
	}
	n := &nesting{outer: c.store.outer, req: req, settings: settings, slot: make(chan struct{}, 1)}
	if n.outer != nil {
		n.depth = n.outer.depth + 1
	}
	n.slot <- struct{}{}
	return func(ctx context.Context, l net.Listener, scope *builder.Scope) error {
		inner := &Store{Store: c.store.Store, shared: c.store.shared, outer: n}
		r := &restricted{inner: inner, scope: scope, ctx: ctx}
		if scope.Submits() {
			return settings.Serve(ctx, l, submitting{r})
		}
		return settings.Serve(ctx, l, r)
	}
}

// callSettings returns the settings of a call. A builder has those of the call that builds it.
func (s *Store) callSettings(ctx context.Context) (*Settings, error) {
	if s.outer != nil {
		return s.outer.settings, nil
	}
	return s.opts.Settings(ctx, s.Store)
}

// reject returns the result of a derivation that would wait for a build that waits for it, or nil.
func (n *nesting) reject(req *builder.Request) *store.BuildResult {
	if n != nil && n.depth >= maxNested {
		return cannotBuild(store.InputRejected, req.Path, req.Derivation, "its builder is nested too deep in the builders of other derivations", false)
	}
	for ; n != nil; n = n.outer {
		if n.req.Path == req.Path || sharesOutput(n.req, req) {
			return cannotBuild(store.InputRejected, req.Path, req.Derivation, "the build of '"+string(n.req.Path)+"', which asks for it, builds the same outputs", false)
		}
	}
	return nil
}

// sharesOutput reports whether two derivations have an output with the same path, which one of them keeps locked.
func sharesOutput(a, b *builder.Request) bool {
	for _, x := range a.Derivation.Outputs.All() {
		for _, y := range b.Derivation.Outputs.All() {
			if x.Path() != "" && x.Path() == y.Path() {
				return true
			}
		}
	}
	return false
}

// acquireSlot waits for a build slot, and returns a function that releases it. A build that a builder has asked for
// uses the slot of that builder, or another one if that is in use.
func (c *call) acquireSlot(settings *Settings) (release func(), err error) {
	slots, outer := c.store.opts.Slots, c.store.outer
	free := func() { slots.release(settings.Client) }
	if outer == nil {
		return free, slots.acquire(c.ctx, settings.Client, settings.MaxJobs)
	}
	giveBack := func() { outer.slot <- struct{}{} }
	select {
	case <-outer.slot:
		return giveBack, nil
	default:
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	acquired := make(chan error, 1)
	go func() { acquired <- slots.acquire(ctx, settings.Client, settings.MaxJobs) }()
	select {
	case err := <-acquired:
		return free, err
	case <-outer.slot:
		cancel()
		if err := <-acquired; err == nil {
			free()
		}
		return giveBack, nil
	}
}
