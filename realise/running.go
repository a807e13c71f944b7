package realise

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// running is the table of the builds that run now, here and on other machines. There is at most one for each derivation.
//
// A build belongs to all calls that have a claim on it, and runs on a goroutine of its own. A call that joins a running
// build gets its log and its result, and needs no slot. A call that ends its claim, because it is cancelled or reaches
// one of its limits, leaves the build to the others. The build is cancelled when its last claim ends.
//
// Calls share a result only if it follows from the derivation: a success, or a failure with the status PermanentFailure
// or OutputRejected. Any other result, for example a lost supervisor, goes to the oldest claim, and the other calls try
// again. The status Built becomes AlreadyValid for all claims except the oldest.
type running struct {
	mu     sync.Mutex
	builds map[storepath.Path]*sharedBuild
}

// A buildKey has everything that must be equal in two requests that share a build. The contents count, too: a client
// may build a derivation that is not in the store under the path of another one.
type buildKey struct {
	path     storepath.Path
	contents [sha256.Size]byte
	settings string
	alone    bool // the build is never shared
}

func keyOf(req *builder.Request, settings *Settings) buildKey {
	kind, err := req.Derivation.Kind()
	return buildKey{
		path: req.Path, contents: sha256.Sum256([]byte(req.Derivation.String())), settings: settings.BuildKey,
		// Each build of an impure derivation can have another result.
		alone: err != nil || kind == derivation.Impure || req.Mode != store.BuildNormal,
	}
}

// claim returns the running build of a derivation, and a claim on it unless its key differs or it is ending. If no build
// runs, claim begins the one that begin returns, unless begin is nil. A build elsewhere has no claims. The caller calls leave
// when it no longer waits for the build. The error is for a builder that would wait for itself.
func (r *running) claim(c *call, key buildKey, begin func() *sharedBuild) (b *sharedBuild, cl *claim, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b = r.builds[key.path]
	switch {
	case b != nil && c.store.outer.isNeededBy(b):
		return nil, nil, errNeedsItself
	case b != nil:
		if b.key == key && !key.alone {
			cl = b.join(c)
		}
	case begin == nil:
		return nil, nil, nil
	default:
		if r.builds == nil {
			r.builds = make(map[storepath.Path]*sharedBuild)
		}
		b = begin()
		r.builds[key.path] = b
		if b.executor != nil {
			cl = b.join(c)
			go b.run(r)
		}
	}
	if n := c.store.outer; n != nil {
		n.build.inner[b]++
	}
	return b, cl, nil
}

// leave ends the wait that claim has begun.
func (r *running) leave(c *call, b *sharedBuild) {
	n := c.store.outer
	if n == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.build.inner[b]--; n.build.inner[b] == 0 {
		delete(n.build.inner, b)
	}
}

// A sharedBuild is a build of one or more calls.
type sharedBuild struct {
	key      buildKey
	req      builder.Request
	session  *buildSession   // in which the executor builds
	executor Executor        // nil for a build on another machine, which runs on the goroutine of its call
	mode     store.BuildMode // of the call that has begun the build
	slots    *Slots
	client   string // gets the slot
	maxJobs  int

	shared *shared  // of the store of the call
	nested *nesting // what the builder of this build asks for; nil if it is not served
	outer  *nesting // the build whose builder began this one, or nil

	lent  chan *nesting        // builds that wait for this one and lend it their slots
	inner map[*sharedBuild]int // builds for which the builder waits, with the number of its calls; guarded by running.mu

	ctx    context.Context // ends with the last claim
	cancel context.CancelCauseFunc
	begun  chan struct{} // closed when the build has a slot
	done   chan struct{} // closed when result and err are set

	mu     sync.Mutex
	claims []*claim // in the order in which they joined
	closed bool     // no call can join
	active bool     // the builder runs
	events broadcast

	result *store.BuildResult
	err    error
}

// newElsewhereBuild returns a build on another machine. It makes the calls wait that need the same derivation.
func newElsewhereBuild(key buildKey) *sharedBuild {
	key.alone = true
	b := &sharedBuild{key: key, begun: make(chan struct{}), done: make(chan struct{})}
	close(b.begun)
	return b
}

// end removes a build from the table, and wakes the calls that wait for it.
func (r *running) end(b *sharedBuild) {
	r.mu.Lock()
	delete(r.builds, b.key.path)
	r.mu.Unlock()
	close(b.done)
}

// newBuild returns a build for a request of a call. The build may outlive the call.
func (c *call) newBuild(key buildKey, req *builder.Request, settings *Settings) *sharedBuild {
	b := &sharedBuild{
		key: key, req: *req, session: c.session, executor: settings.Executor, mode: c.mode,
		slots: c.store.opts.Slots, client: settings.Client, maxJobs: settings.MaxJobs,
		shared: c.store.shared, outer: c.store.outer, lent: make(chan *nesting), inner: make(map[*sharedBuild]int),
		begun: make(chan struct{}), done: make(chan struct{}),
	}
	b.events.space.L = &b.mu
	b.req.Watcher, b.req.Later = b, b.session.later
	if b.nested = b.newNesting(b.outer, settings); b.nested != nil {
		b.req.Serve = b.nested.serve
	}
	ctx := activity.WithHandler(context.WithoutCancel(c.ctx), b)
	b.ctx, b.cancel = context.WithCancelCause(store.WithClosureBudget(ctx, b))
	return b
}

// run builds, and gives the result to the claims.
func (b *sharedBuild) run(r *running) {
	defer b.end(r) // also if the executor calls runtime.Goexit
	var guard parallel.Guard
	b.err = errExited
	b.err = guard.Call(func() (err error) {
		release, err := b.acquireSlot()
		if err != nil {
			return err
		}
		defer b.releaseSlot(release)
		close(b.begun)
		if b.mode == store.BuildRepair {
			b.result, err = b.executor.Build(b.ctx, &b.req)
		} else {
			b.result, err = buildCollecting(b.ctx, b.session.Store, b.executor, &b.req)
		}
		return err
	})
}

// end removes the build from the table, and gives the result to the claims.
func (b *sharedBuild) end(r *running) {
	defer r.end(b)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	// A call that has stopped would run no hook, and lose the result.
	oldest := max(0, slices.IndexFunc(b.claims, func(cl *claim) bool { return cl.call.ctx.Err() == nil }))
	for i, cl := range b.claims {
		cl.over = true
		cl.retry = i != oldest && !b.isShared()
		cl.shares = i != oldest
		cl.stop()
		cl.queue.noteLost()
	}
	b.cancel(nil)
}

// isShared reports whether all claims get the result.
func (b *sharedBuild) isShared() bool {
	if b.err != nil {
		return false
	}
	return b.result.Status.Succeeded() || b.result.Status == store.PermanentFailure || b.result.Status == store.OutputRejected
}

// Started implements [builder.Watcher].
func (b *sharedBuild) Started() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = true
	for _, cl := range b.claims {
		cl.startTimers()
	}
}

// Wrote implements [builder.Watcher].
func (b *sharedBuild) Wrote(size uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.claims) - 1; i >= 0; i-- { // a claim that ends is deleted
		cl := b.claims[i]
		if cl.silence != nil {
			cl.silence.Reset(cl.limits.MaxSilentTime)
		}
		if limit := cl.limits.MaxLogSize; limit > 0 && size > limit {
			b.leaveLocked(cl, builder.LogTooLarge(b.req.Path, limit))
		}
	}
	return context.Cause(b.ctx)
}

// Ended implements [builder.Watcher]. The limits do not apply to the registration of outputs.
func (b *sharedBuild) Ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = false
	for _, cl := range b.claims {
		cl.stopTimers()
	}
}

// AcquireClosure implements [store.ClosureBudget] with the budget of the oldest claim. The budget of a call must not be
// used after the call has returned.
func (b *sharedBuild) AcquireClosure(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.claims) == 0 || b.claims[0].budget == nil {
		return nil
	}
	return b.claims[0].budget.AcquireClosure(n)
}

// AskSource implements [store.ClosureBudget]. It limits nothing, because the closure of a build is in the store.
func (b *sharedBuild) AskSource(_ context.Context, ask func() error) error { return ask() }
