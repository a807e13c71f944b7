package realise

import (
	"context"

	"pix/builder"
	"pix/store"
	"pix/storepath"
)

// executeHere builds, or waits for another call that builds the same. The goal is preparing when it is called.
func (c *call) executeHere(req *builder.Request) (*store.BuildResult, error) {
	settings, err := c.load()
	if err != nil || settings.MaxJobs < 1 {
		c.turns.settle()
		if err == nil {
			return localBuildsDisabled(req, settings)
		}
		return nil, err
	}
	key := keyOf(req, settings)
	for {
		result, retry, err := c.executeOnce(key, req, settings)
		if !retry {
			return result, err
		}
		c.turns.prepare()
	}
}

// executeOnce begins a build, joins one, or waits until another one of the derivation has ended. The goal is no longer preparing
// when it returns. With retry, it has no result yet.
func (c *call) executeOnce(key buildKey, req *builder.Request, settings *Settings) (result *store.BuildResult, retry bool, err error) {
	b, cl, err := c.store.running.claim(c, key, nil)
	if b != nil || err != nil {
		c.turns.settle()
	} else {
		if err := c.turns.wait(c.ctx, req.Path); err != nil {
			return nil, false, err
		}
		own := false
		b, cl, err = c.store.running.claim(c, key, func() *sharedBuild { own = true; return c.newBuild(key, req, settings) })
		if own {
			defer c.turns.add(1)
		} else { // another call was faster
			c.turns.add(1)
		}
	}
	if err != nil {
		return cannotBuild(store.InputRejected, req.Path, req.Derivation, err.Error(), false), false, nil
	}
	return c.follow(b, cl)
}

// follow waits for the result of a claim. Without a claim, it waits for the end of the build, and the caller tries again.
func (c *call) follow(b *sharedBuild, cl *claim) (result *store.BuildResult, retry bool, err error) {
	defer c.store.running.leave(c, b)
	defer c.store.outer.lend(b)()
	if cl != nil {
		return c.finish(cl)
	}
	select {
	case <-b.done:
		return nil, true, nil
	case <-c.ctx.Done():
		return nil, false, context.Cause(c.ctx)
	}
}

// finish waits for the result of a claim. It makes the outputs temporary roots of the call, before the session of the
// build can end.
func (c *call) finish(cl *claim) (result *store.BuildResult, retry bool, err error) {
	defer func() { c.warnOf("closing the session of a build", cl.build.session.release()) }()
	result, retry, err = cl.wait()
	if err != nil || retry {
		return nil, retry, err
	}
	outputs := make([]storepath.Path, 0, len(result.Outputs))
	for _, out := range result.Outputs {
		outputs = append(outputs, out.OutPath)
	}
	return result, false, store.AddTempRoots(c.ctx, c.store.Store, outputs)
}

func localBuildsDisabled(req *builder.Request, settings *Settings) (*store.BuildResult, error) {
	rejection, err := settings.rejection(req)
	return cannotBuild(store.InputRejected, req.Path, req.Derivation, "local builds are disabled (max-jobs = 0)\n"+
		"Hint: set 'max-jobs' to a non-zero value to enable local builds, or configure remote builders via 'builders'"+rejection, false), err
}
