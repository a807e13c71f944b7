package realise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/builder"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A goal is a derivation that a call builds.
type goal struct {
	drv      storepath.Path
	started  bool
	wanted   bool          // a caller gets the result, so the call does not log it
	done     chan struct{} // closed when result is set
	result   store.BuildResult
	wasTried bool
}

// start returns the goal of a derivation, which runs from now on.
func (c *call) start(drv storepath.Path, wanted bool) *goal {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.goals[drv]
	if g == nil {
		g = &goal{drv: drv}
		c.goals[drv] = g
		c.report.expect(1)
	}
	g.wanted = g.wanted || wanted
	if !g.started {
		g.started, g.done = true, make(chan struct{})
		c.turns.prepare()
		c.goDo(func() error {
			defer close(g.done)
			return c.run(g)
		})
	}
	return g
}

// collect builds a derivation that the caller wants, and sets the result when its goal has ended.
func (c *call) collect(r *store.KeyedBuildResult, built derivation.Built) {
	g := c.start(built.Base(), true)
	c.goDo(func() error {
		<-g.done
		if !g.wasTried {
			return nil
		}
		r.BuildResult = g.result
		if !g.result.Status.Succeeded() {
			return nil
		}
		outputs := make(map[string]store.Realisation)
		for name, out := range g.result.Outputs {
			if built.Outputs.Contains(name) {
				outputs[name] = out
			}
		}
		for _, name := range built.Outputs.Names().Slice() {
			if _, has := outputs[name]; !has {
				return fmt.Errorf("derivation '%s' does not have output '%s'", g.drv, name)
			}
		}
		r.Outputs = outputs
		return nil
	})
}

// run makes the inputs of a derivation valid, and builds it.
func (c *call) run(g *goal) error {
	result, err := c.runOnce(g)
	if err != nil {
		if c.ctx.Err() != nil {
			return nil // another goal has failed, or the caller has cancelled
		}
		return err
	}
	g.result, g.wasTried = *result, true
	if result.Status.Succeeded() {
		return nil
	}
	c.mu.Lock()
	wanted := g.wanted
	c.mu.Unlock()
	if !wanted {
		c.logDependency(result.Message)
	}
	c.failed()
	return nil
}

// runOnce makes the inputs of a derivation valid, and builds it. The goal is preparing when it is called.
func (c *call) runOnce(g *goal) (*store.BuildResult, error) {
	prepared := false
	defer func() {
		if !prepared {
			c.turns.settle()
		}
	}()
	d, err := c.derivation(g.drv)
	if errors.Is(err, store.ErrNotFound) {
		return &store.BuildResult{Status: store.DependencyFailed, Message: fmt.Sprintf("failed to obtain derivation of '%s'", g.drv)}, nil
	}
	if err != nil {
		return nil, err
	}
	failed, err := c.makeInputs(d)
	if err != nil {
		return nil, err
	}
	if failed > 0 {
		return dependencyFailed(g.drv, d, failed), nil
	}
	inputs, err := c.inputs(d)
	if err != nil {
		return nil, err
	}
	prepared = true
	return c.execute(&builder.Request{Path: g.drv, Derivation: d, Inputs: inputs, Mode: c.modeOf(g)})
}

// modeOf returns the mode in which a derivation is built: what the caller wants is checked or repaired, and its inputs are
// only made valid.
func (c *call) modeOf(g *goal) store.BuildMode {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.wanted {
		return c.mode
	}
	return store.BuildNormal
}

// derivation reads a derivation of the store.
func (c *call) derivation(drv storepath.Path) (*derivation.Derivation, error) {
	lent, release := store.LendDerivations(c.store.Store)
	defer release()
	text, err := store.Derivations(lent).LoadDerivation(c.ctx, drv)
	if err != nil {
		return nil, err
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		return nil, err
	}
	// The path of a derivation follows from its text. So derivations cannot need each other in a circle, in which goals
	// would wait for ever.
	own, err := drv.Dir().TextPath(drv.Name(), nixhash.Sum(nixhash.SHA256, []byte(text)), d.References().Slice())
	if err == nil && own != drv {
		err = fmt.Errorf("'%s' is damaged: the path of its contents is '%s'", drv, own)
	}
	return d, err
}

// makeInputs makes the inputs of a derivation valid, and returns how many of them could not be.
func (c *call) makeInputs(d *derivation.Derivation) (failed int, err error) {
	var goals []*goal
	var others []derivation.DerivedPath
	for input, used := range d.InputDerivations.All() {
		if used.Dynamic.Len() > 0 {
			return 0, &store.UnsupportedError{Store: c.store.Store, What: fmt.Sprintf("build '%s', which uses outputs of dynamic derivations", d.Name)}
		}
		c.mu.Lock()
		_, planned := c.goals[input]
		c.mu.Unlock()
		if planned {
			goals = append(goals, c.start(input, false))
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
				goals = append(goals, c.start(r.Path.Base(), false))
			default:
				failed++
				if r.Message != "" {
					c.logDependency(r.Message)
				}
			}
		}
	}
	// Every goal ends soon after the call has stopped. So this goal always waits, and a failure reaches everything
	// that depends on it.
	for _, g := range goals {
		<-g.done
		if g.wasTried && !g.result.Status.Succeeded() {
			failed++
		}
	}
	if c.ctx.Err() != nil && failed == 0 {
		return 0, context.Cause(c.ctx)
	}
	if settings, err := c.load(); err == nil && !settings.KeepGoing {
		failed = min(failed, 1) // Nix stops counting at the first one
	}
	return failed, nil
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
			if !has {
				return nil, fmt.Errorf("derivation '%s' requires non-existent output '%s' from input derivation '%s'", d.Name, name, input)
			}
			paths[name] = out
		}
		inputs[input] = paths
	}
	return inputs, nil
}

// execute waits for a slot, and builds. The goal is preparing when it is called.
func (c *call) execute(req *builder.Request) (*store.BuildResult, error) {
	settings, err := c.load()
	if err != nil || settings.MaxJobs < 1 {
		c.turns.settle()
		if err == nil {
			return localBuildsDisabled(req), nil
		}
		return nil, err
	}
	if err := c.turns.wait(c.ctx, req.Path); err != nil {
		return nil, err
	}
	defer c.turns.add(1)
	leave, err := c.store.running.enter(c.ctx, req.Path)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := c.store.opts.Slots.acquire(c.ctx, settings.MaxJobs); err != nil {
		return nil, err
	}
	defer c.store.opts.Slots.release()
	c.report.began()
	result, err := settings.Executor.Build(c.ctx, req)
	c.report.ended(err == nil && result.Status.Succeeded())
	return result, err
}

// buildBasic builds a derivation whose inputs are all valid.
func (c *call) buildBasic(path storepath.Path, d *derivation.Derivation) (*store.BuildResult, error) {
	c.report.expect(1)
	c.turns.prepare()
	return c.execute(&builder.Request{Path: path, Derivation: d, Mode: c.mode})
}

// cannotBuild returns the result of a derivation that was not run, in the words of Nix.
func cannotBuild(status store.BuildStatus, drv storepath.Path, d *derivation.Derivation, reason string, outputs bool) *store.BuildResult {
	var b strings.Builder
	fmt.Fprintf(&b, "Cannot build '%s'.\nReason: %s", drv, reason)
	if outputs {
		var known []string
		for _, output := range d.Outputs.All() {
			if p := output.Path(); p != "" {
				known = append(known, string(p))
			}
		}
		slices.Sort(known)
		if len(known) > 0 {
			b.WriteString("\nOutput paths:\n  " + strings.Join(known, "\n  "))
		}
	}
	return &store.BuildResult{Status: status, Message: b.String()}
}

func dependencyFailed(drv storepath.Path, d *derivation.Derivation, n int) *store.BuildResult {
	word := "dependency"
	if n > 1 {
		word = "dependencies"
	}
	return cannotBuild(store.DependencyFailed, drv, d, fmt.Sprintf("%d %s failed.", n, word), true)
}

func localBuildsDisabled(req *builder.Request) *store.BuildResult {
	return cannotBuild(store.InputRejected, req.Path, req.Derivation, "local builds are disabled (max-jobs = 0)\n"+
		"Hint: set 'max-jobs' to a non-zero value to enable local builds, or configure remote builders via 'builders'", false)
}
