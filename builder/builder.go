package builder

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"pix/store"
)

// A Builder builds derivations into a store. Its methods may be called by any number of goroutines at once.
type Builder struct {
	store Store
	opts  Options
	clean atomic.Bool // the directories of killed processes were removed
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
// A failed build is a result with a status and a message. Build returns an error if the whole request of the client
// must end: because the derivation asks for something impossible, the machine cannot build, the store failed, or ctx
// is done. When Build returns, all processes of the build have ended.
func (r *Builder) Build(ctx context.Context, req *Request) (*store.BuildResult, error) {
	b, err := newBuild(r.store, &r.opts, req)
	if err != nil {
		return nil, err
	}
	b.report(ctx)
	if err := b.warnOfIgnored(); err != nil {
		return nil, err
	}
	r.removeDead(ctx, b, false)
	status, outputs, err := b.run(ctx)
	r.removeDead(context.WithoutCancel(ctx), b, true)
	return b.result(status, outputs, err)
}

// deadTime is how long a build waits for the builders of a process that was killed just before. They usually end within
// milliseconds.
const deadTime = 200 * time.Millisecond

// removeDead removes the directories of killed processes, until it has succeeded once. The builder of a killed
// process may live for a moment longer, so there is one attempt before a build and one after it. A directory that
// cannot be removed does not prevent the build.
func (r *Builder) removeDead(ctx context.Context, b *build, again bool) {
	if r.clean.Load() {
		return
	}
	done, err := b.removeDead(ctx)
	for deadline := time.Now().Add(deadTime); !done && err == nil && !again && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
		done, err = b.removeDead(ctx)
	}
	if err != nil && again {
		b.warn(fmt.Sprintf("removing what builds have left that were killed: %v", err))
	}
	r.clean.Store(done && (err == nil || again))
}

// result returns the result of a build that ended with err. A failed build is a result, other errors are not.
func (b *build) result(status store.BuildStatus, outputs map[string]store.Realisation, err error) (*store.BuildResult, error) {
	r := &store.BuildResult{Status: status, TimesBuilt: b.timesBuilt, Start: b.started, Stop: b.stopped}
	if b.timesBuilt > 0 {
		r.CPUUser, r.CPUSystem = &b.cpuUser, &b.cpuSystem
	}
	if failure, ok := errors.AsType[*Failure](err); ok {
		r.Status, r.Message = failure.Status, failure.Message
		r.NonDeterministic = failure.Status == store.NotDeterministic
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Outputs = b.wanted(outputs)
	return r, nil
}

// wanted returns the outputs that the caller wants.
func (b *build) wanted(outputs map[string]store.Realisation) map[string]store.Realisation {
	if b.req.Wanted == nil {
		return outputs
	}
	wanted := make(map[string]store.Realisation, len(b.req.Wanted))
	for _, name := range b.req.Wanted {
		if r, ok := outputs[name]; ok {
			wanted[name] = r
		}
	}
	return wanted
}
