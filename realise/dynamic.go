package realise

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A derivation can be the output of another derivation, a dynamic derivation. Its path, its inputs and the names of its
// outputs are known only after the build of that one. So the plan of a call ignores it. A dynamic goal makes its outputs
// valid: it first makes the derivation valid, and then stands for the goal of the derivation.
//
// Sources: src/libstore/build/derivation-trampoline-goal.cc and resolveDerivedPath in misc.cc in Nix 2.34.8.

// maxDynamic limits the dynamic goals of a call. A text of 10 bytes in a derivation needs such a goal, and a derivation
// that yields another dynamic derivation each time needs them without end.
const maxDynamic = 1 << 16

// dynamicGoals are the dynamic goals of a call. The lock of the call guards them.
type dynamicGoals struct {
	goals map[string]*goal          // by derived path
	paths map[string]storepath.Path // of their outputs, by derived path
	found bool                      // a dynamic goal has found a derivation, so goals may need each other in a circle

	circle chan struct{} // closed when goals need each other in a circle
}

// isDynamic reports whether a path stands for outputs of a derivation that is an output itself.
func isDynamic(path derivation.DerivedPath) bool {
	built, ok := path.(derivation.Built)
	if ok {
		_, ok = built.Drv.(derivation.SingleBuilt)
	}
	return ok
}

// warnDynamic reports the dynamic paths that the plan of the call ignores, as Nix does.
func (c *call) warnDynamic(paths []derivation.Built) {
	h := activity.HandlerOf(c.ctx)
	if h == nil {
		return
	}
	for _, path := range paths {
		h.HandleEvent(activity.Log{Text: fmt.Sprintf("warning: Ignoring dynamic derivation %s while querying missing paths; not yet implemented", path.Drv)})
	}
}

// startDynamic returns the goal of a dynamic path, which runs from now on. The waiter needs its outputs; nil is the
// caller.
func (c *call) startDynamic(built derivation.Built, waiter *goal) (*goal, error) {
	if err := c.requireDynamic(built.Drv); err != nil {
		return nil, err
	}
	key := built.String()
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.dynamic.goals[key]
	if g == nil {
		if len(c.dynamic.goals) == maxDynamic {
			return nil, fmt.Errorf("the build needs outputs of more than %d derivations that are outputs themselves", maxDynamic)
		}
		if c.dynamic.goals == nil {
			c.dynamic.goals, c.dynamic.paths = make(map[string]*goal), make(map[string]storepath.Path)
		}
		g = &goal{built: built}
		c.dynamic.goals[key] = g
	}
	c.launch(g, waiter, c.runDynamic)
	return g, nil
}

// startDynamicInputs starts the goals of the dynamic paths that a derivation uses of an input.
func (c *call) startDynamicInputs(g *goal, input storepath.Path, used derivation.InputOutputs) (goals []*goal, err error) {
	if used.Dynamic.Len() == 0 {
		return nil, nil
	}
	paths, err := used.Clone().DerivedPaths(derivation.Opaque{Path: input.Clone()}) // the goals must not keep the text in memory
	if err != nil {
		return nil, fmt.Errorf("derivation '%s': %w", g.drv, err)
	}
	for _, path := range paths {
		if !isDynamic(path) {
			continue
		}
		needed, err := c.startDynamic(path, g)
		if err != nil {
			return nil, err
		}
		goals = append(goals, needed)
	}
	return goals, nil
}

// runDynamic makes the outputs of a dynamic goal valid. The goal is preparing when it is called.
func (c *call) runDynamic(g *goal) (*store.BuildResult, error) {
	c.turns.settle() // the derivation to build has a goal of its own
	drv, failure, err := c.obtain(g)
	if failure != nil || err != nil {
		return failure, err
	}
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("error parsing derivation '%s': store path '%s' is not a valid derivation path", drv, drv.Base())
	}
	built := derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: g.built.Outputs}
	if err := c.checkNames(built); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.dynamic.found, g.forwards = true, true
	c.mu.Unlock()
	result, err := c.makeOutputs(g, built)
	if err != nil || !result.Status.Succeeded() {
		return result, err
	}
	return c.outputsOfDynamic(g, drv, result)
}

// outputsOfDynamic returns the result of a dynamic goal whose outputs are valid, and records their paths.
func (c *call) outputsOfDynamic(g *goal, drv storepath.Path, result *store.BuildResult) (*store.BuildResult, error) {
	own := *result
	var err error
	if own.DrvHash.IsZero() { // the path of the derivation is not in the path of the result
		if own.DrvHash, err = store.DrvHash(c.ctx, c.store.Store, drv); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	own.Outputs = make(map[string]store.Realisation)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, out := range result.Outputs {
		if g.built.Outputs.Contains(name) {
			own.Outputs[name] = out
			c.dynamic.paths[derivation.SingleBuilt{Drv: g.built.Drv, Output: name}.String()] = out.OutPath
		}
	}
	return &own, nil
}

// obtain makes the derivation of a dynamic goal valid, and returns its path, or why that failed.
func (c *call) obtain(g *goal) (drv storepath.Path, failure *store.BuildResult, err error) {
	single := g.built.Drv.(derivation.SingleBuilt)
	if c.modeOf(g) == store.BuildNormal {
		drv, err := c.validDerivation(single)
		if drv != "" || err != nil {
			return drv, nil, err
		}
	}
	outer := derivation.Built{Drv: single.Drv, Outputs: derivation.NamedOutputs(single.Output)}
	result, err := c.makeOuter(g, outer)
	if err != nil {
		return "", nil, err
	}
	if !result.Status.Succeeded() {
		return "", &store.BuildResult{Status: store.DependencyFailed, Message: fmt.Sprintf("failed to obtain derivation of '%s'", single)}, nil
	}
	drv, err = store.ResolvePath(c.ctx, c.store.Store, single)
	if err == nil {
		err = store.AddTempRoots(c.ctx, c.store.Store, []storepath.Path{drv})
	}
	return drv, nil, err
}

// makeOuter makes an output that is a derivation valid for a dynamic goal, and returns the result.
func (c *call) makeOuter(g *goal, outer derivation.Built) (*store.BuildResult, error) {
	if isDynamic(outer) {
		needed, err := c.startDynamic(outer, g)
		if err != nil {
			return nil, err
		}
		return c.resultOf(g, needed)
	}
	if err := c.checkNames(outer); err != nil {
		return nil, err
	}
	return c.makeOutputs(g, outer)
}

// validDerivation returns the path of a derivation that is an output, if it is known and valid, and otherwise "".
func (c *call) validDerivation(single derivation.SingleBuilt) (storepath.Path, error) {
	drv, err := store.ResolvePath(c.ctx, c.store.Store, single)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := store.AddTempRoots(c.ctx, c.store.Store, []storepath.Path{drv}); err != nil {
		return "", err
	}
	valid, err := c.store.IsValidPath(c.ctx, drv)
	if !valid {
		drv = ""
	}
	return drv, err
}

// makeOutputs makes outputs of a derivation valid for a dynamic goal, by substituting or building, and returns the
// result. A wanted goal that forwards the result builds in the mode of the call.
func (c *call) makeOutputs(g *goal, built derivation.Built) (*store.BuildResult, error) {
	mode := store.BuildNormal
	if g.forwards {
		mode = c.modeOf(g)
	}
	build, err := c.plan([]derivation.DerivedPath{built}, false)
	if err != nil {
		return nil, err
	}
	if !build[built.Base()] && mode == store.BuildNormal {
		results, err := c.substitute([]derivation.DerivedPath{built}, mode)
		if err != nil {
			return nil, err
		}
		switch r := &results[0]; {
		case r.Status.Succeeded():
			return &r.BuildResult, c.registerPresent(r)
		case r.Status == store.MiscFailure: // its outputs were deleted, or could not be fetched
		case r.Message == "":
			return nil, c.stopCause()
		default:
			if !g.forwards {
				c.logDependency(r.Message)
			}
			return &r.BuildResult, nil
		}
	}
	return c.resultOf(g, c.start(built.Base(), g))
}

// resultOf waits for a goal that a dynamic goal needs, and returns its result. Every goal ends soon after the call has
// stopped. As in [call.await], the failure of a wanted derivation stops the call before the dynamic goal can fail.
func (c *call) resultOf(g, needed *goal) (*store.BuildResult, error) {
	select {
	case <-needed.done:
	case <-c.dynamic.circle:
		return nil, c.stopCause()
	}
	stopped := !needed.wasTried
	if needed.wasTried && !needed.result.Status.Succeeded() && !g.forwards && !c.keepsGoing() {
		stopped = c.isWanted(needed)
	}
	if stopped {
		return nil, c.stopCause()
	}
	return &needed.result, nil
}

// stopCause returns why the call has stopped.
func (c *call) stopCause() error {
	if c.ctx.Err() == nil {
		return errStopped
	}
	return context.Cause(c.ctx)
}

// breakCircle ends the call if a goal needs itself because waiter needs it. Its caller holds the lock of the call.
//
// The path of a derivation follows from its text, so derivations that are known before the call cannot need each other in
// a circle. But a builder can yield a derivation that needs the derivation of the builder.
func (c *call) breakCircle(g, waiter *goal) {
	if !c.dynamic.found || !g.started || !isNeeded(waiter, g) {
		return
	}
	if c.fatal == nil && c.ctx.Err() == nil {
		c.fatal = fmt.Errorf("%s needs itself, through a derivation that is an output", waiter)
		close(c.dynamic.circle)
	}
	c.stop(errStopped)
}

// isNeeded reports whether the goal g is needed by a goal, directly or indirectly, or is the same.
func isNeeded(g, by *goal) bool {
	seen := map[*goal]bool{g: true}
	for todo := []*goal{g}; len(todo) > 0; {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if last == by {
			return true
		}
		for _, w := range last.waiters {
			if !seen[w] {
				seen[w] = true
				todo = append(todo, w)
			}
		}
	}
	return false
}

// String returns the name of a goal for messages.
func (g *goal) String() string {
	if g.drv == "" {
		return fmt.Sprintf("derivation '%s'", g.built.Drv)
	}
	return fmt.Sprintf("derivation '%s'", g.drv)
}
