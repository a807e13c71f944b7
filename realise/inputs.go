package realise

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// makeInputs makes the inputs of a derivation valid for its goal, and returns how many of them could not be.
func (c *call) makeInputs(g *goal, d *derivation.Derivation) (failed int, err error) {
	var goals []*goal
	var others []derivation.DerivedPath
	for input, used := range d.InputDerivations.All() {
		dynamic, err := c.startDynamicInputs(g, input, used)
		if err != nil {
			return 0, err
		}
		goals = append(goals, dynamic...)
		if used.Names.Len() == 0 {
			continue
		}
		c.mu.Lock()
		_, planned := c.goals[input]
		c.mu.Unlock()
		if planned {
			goals = append(goals, c.start(input, g))
		} else {
			others = append(others, derivation.Built{Drv: derivation.Opaque{Path: input}, Outputs: derivation.NamedOutputs(used.Names.Slice()...)})
		}
	}
	if len(goals)+len(others) == 0 {
		return 0, nil
	}
	c.turns.settle() // other goals can build while this one waits
	defer c.turns.prepare()
	if len(others) > 0 {
		results, err := c.substitute(others, store.BuildNormal)
		if err != nil {
			return 0, err
		}
		for _, r := range results {
			switch {
			case r.Status.Succeeded():
			case r.Status == store.MiscFailure: // its outputs were deleted, or could not be fetched
				goals = append(goals, c.start(r.Path.Base(), g))
			default:
				failed++
				if r.Message != "" {
					c.logDependency(r.Message)
				}
			}
		}
	}
	failed += c.await(g, goals)
	if c.ctx.Err() != nil && failed == 0 {
		return 0, context.Cause(c.ctx)
	}
	if !c.keepsGoing() {
		failed = min(failed, 1) // Nix stops counting at the first one
	}
	return failed, nil
}

// await waits for goals, and returns how many have failed. Without keep-going it returns at the first failure. Every goal
// ends soon after the call has stopped.
//
// A wanted derivation that fails stops the call before its goal ends, so it does not count without keep-going.
func (c *call) await(g *goal, goals []*goal) (failed int) {
	keepsGoing := c.keepsGoing()
	if !keepsGoing {
		c.mu.Lock()
		for _, needed := range goals { // it may have failed before this goal waited for it
			if needed.hasFailed {
				g.wakeUnless(needed.wanted)
			}
		}
		c.mu.Unlock()
	}
	for _, needed := range goals {
		select {
		case <-needed.done:
			if needed.wasTried && !needed.result.Status.Succeeded() && (keepsGoing || !c.isWanted(needed)) {
				failed++
			}
		case <-g.wake:
			return failed + 1
		case <-c.dynamic.circle:
			return failed
		}
	}
	return failed
}

// inputs returns the paths of the outputs that a derivation uses.
func (c *call) inputs(d *derivation.Derivation) (map[storepath.Path]map[string]storepath.Path, error) {
	inputs := make(map[storepath.Path]map[string]storepath.Path, d.InputDerivations.Len())
	for input, used := range d.InputDerivations.All() {
		outputs, err := store.OutputMap(c.ctx, c.store.Store, input)
		if err != nil {
			return nil, err
		}
		paths := make(map[string]storepath.Path, used.Names.Len())
		for _, name := range used.Names.Slice() {
			out, has := outputs[name]
			if built := c.builtOutput(input, name); built != "" {
				out = built
			}
			if !has {
				return nil, fmt.Errorf("derivation '%s' requires non-existent output '%s' from input derivation '%s'", d.Name, name, input)
			}
			paths[name] = out
		}
		inputs[input] = paths
	}
	return inputs, nil
}

// makeSources makes the input sources of a derivation valid that need not be in the store itself, and so does not keep them from
// collectors. It returns how many of them could not be made.
func (c *call) makeSources(d *derivation.Derivation) (failed int, err error) {
	sources := d.InputSources.Slice()
	if err := store.AddTempRoots(c.ctx, c.store.Store, sources); err != nil {
		return 0, err
	}
	missing, err := c.invalid(sources)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	results, err := c.substitute(missing, store.BuildNormal)
	if err != nil {
		return 0, err
	}
	for _, r := range results {
		if !r.Status.Succeeded() {
			failed++
			c.logDependency(r.Message)
		}
	}
	return failed, nil
}
