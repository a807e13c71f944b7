package realise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"pix/builder"
	"pix/store"
	"pix/storepath"
)

// A builder with the feature recursive-nix builds in the same store, while its own build runs. Its calls have the
// settings of the call that builds it, and all their builds end before its build does.
//
// Such a builder waits while its builds run. So a build that it asks for may use its slot: with one slot, both would
// otherwise wait for ever.

// maxNested limits how deep builds are nested. Each level keeps a process, a build user and a directory.
const maxNested = 16

// A nesting is a running build whose builder may ask for others.
type nesting struct {
	outer    *nesting // the build that has asked for this one, or nil
	depth    int
	build    *sharedBuild
	settings *Settings
	scope    *builder.Scope // set before the builder starts
	slot     chan struct{}  // has a value while no inner build uses the slot of the build

	mu      sync.Mutex
	release func() // releases the slot; nil until the build has ended
}

// errNeedsItself is the result of a build that would wait for its own end.
var errNeedsItself = errors.New("the build that asks for it must end before it can be built")

// newNesting returns the nesting of a build, or nil if the settings serve no builders.
func (b *sharedBuild) newNesting(outer *nesting, settings *Settings) *nesting {
	if settings.Serve == nil {
		return nil
	}
	n := &nesting{outer: outer, build: b, settings: settings, slot: make(chan struct{}, 1)}
	if outer != nil {
		n.depth = outer.depth + 1
	}
	n.slot <- struct{}{}
	return n
}

// store returns the store in which the builder builds.
func (n *nesting) store() *Store {
	return &Store{Store: n.build.session.Store, shared: n.build.shared, outer: n}
}

// serve serves a restricted store to the builder.
func (n *nesting) serve(ctx context.Context, l net.Listener, scope *builder.Scope) error {
	n.scope = scope
	r := &restricted{inner: n.store(), scope: scope, ctx: ctx}
	if scope.Submits() {
		return n.settings.Serve(ctx, l, submitting{r})
	}
	return n.settings.Serve(ctx, l, r)
}

// callSettings returns the settings of a call and the session of its builds. A builder has the settings and the session of its own build.
func (s *Store) callSettings(ctx context.Context) (*Settings, *buildSession, error) {
	if n := s.outer; n != nil {
		n.build.session.retain()
		return n.settings, n.build.session, nil
	}
	session, err := openBuildSession(ctx, s.Store)
	if err != nil {
		return nil, nil, err
	}
	settings, err := s.opts.Settings(ctx, session.Store)
	if err != nil {
		return nil, nil, errors.Join(err, session.release())
	}
	return settings, session, nil
}

// isNeededBy reports whether a running build waits for the builder, directly or through others. The caller holds the lock
// of the table of running builds.
func (n *nesting) isNeededBy(b *sharedBuild) bool {
	if n == nil {
		return false
	}
	seen := make(map[*sharedBuild]bool)
	var waits func(b *sharedBuild) bool
	waits = func(b *sharedBuild) bool {
		if b == n.build {
			return true
		}
		if seen[b] {
			return false
		}
		seen[b] = true
		for inner := range b.inner {
			if waits(inner) {
				return true
			}
		}
		return false
	}
	return waits(b)
}

// checkInputs returns an error unless the builder knows the inputs of a derivation. It matters for a derivation whose
// references are not its inputs: others are in the scope with their inputs.
func (n *nesting) checkInputs(drv storepath.Path, inputs []storepath.Path) error {
	if n == nil {
		return nil
	}
	for _, input := range inputs {
		if !n.scope.Has(input) {
			return fmt.Errorf("cannot build '%s' in recursive Nix because its input '%s' is unknown", drv, input)
		}
	}
	return nil
}

// reject returns the result of a derivation that would wait for a build that waits for it, or nil.
func (n *nesting) reject(req *builder.Request) *store.BuildResult {
	if n != nil && n.depth >= maxNested {
		return cannotBuild(store.InputRejected, req.Path, req.Derivation, "its builder is nested too deep in the builders of other derivations", false)
	}
	for ; n != nil; n = n.outer {
		if n.build.req.Path == req.Path || sharesOutput(&n.build.req, req) {
			return cannotBuild(store.InputRejected, req.Path, req.Derivation, "the build of '"+string(n.build.req.Path)+"', which asks for it, builds the same outputs", false)
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

// acquireSlot waits for a build slot, and returns a function that releases it. A build that a builder has asked for uses
// the slot of that builder, unless another inner build uses it.
func (b *sharedBuild) acquireSlot() (release func(), err error) {
	if b.outer != nil {
		select {
		case <-b.outer.slot:
			return b.outer.giveBack, nil
		default:
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	acquired := make(chan error, 1)
	go func() { acquired <- b.slots.acquire(ctx, b.client, b.maxJobs) }()
	free := func() { b.slots.release(b.client) }
	select {
	case err := <-acquired:
		return free, err
	case lender := <-b.lent:
		cancel()
		if err := <-acquired; err == nil {
			free()
		}
		return lender.giveBack, nil
	}
}

// giveBack ends the use of the slot by an inner build.
func (n *nesting) giveBack() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.release != nil {
		n.release()
	} else {
		n.slot <- struct{}{}
	}
}

// releaseSlot releases the slot of a build. If an inner build uses it, which can last longer because another client shares
// it, that build releases the slot when it ends.
func (b *sharedBuild) releaseSlot(release func()) {
	n := b.nested
	if n == nil {
		release()
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.slot:
		release()
	default:
		n.release = release
	}
}

// lend offers the slot of the builder to a build for which it waits, until that build has a slot. The caller calls the
// returned function when it no longer waits.
func (n *nesting) lend(b *sharedBuild) (stop func()) {
	if n == nil {
		return func() {}
	}
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-n.slot:
		case <-b.begun:
			return
		case <-b.done:
			return
		case <-stopped:
			return
		}
		select {
		case b.lent <- n:
			return
		case <-b.begun:
		case <-b.done:
		case <-stopped:
		}
		n.giveBack()
	}()
	return func() { close(stopped); <-ended }
}
