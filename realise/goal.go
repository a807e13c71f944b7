package realise

import (
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

// A goal is a derivation that a call builds, or a dynamic path that it makes valid.
type goal struct {
	drv       storepath.Path   // "" for a dynamic goal
	built     derivation.Built // of a dynamic goal
	forwards  bool             // a dynamic goal that has the result of the goal it waits for, which logs no failure of its own
	started   bool
	wanted    bool          // the caller gets the result
	waiters   []*goal       // need its outputs
	wake      chan struct{} // gets a value when something that it needs has failed, and the call does not keep going
	doomed    bool          // it has got that value, or the call has stopped
	done      chan struct{} // closed when result is set
	result    store.BuildResult
	wasTried  bool
	hasFailed bool
}

// start returns the goal of a derivation, which runs from now on. The waiter needs its outputs; nil is the caller.
func (c *call) start(drv storepath.Path, waiter *goal) *goal {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.goals[drv]
	if g == nil {
		g = &goal{drv: drv}
		c.goals[drv] = g
		c.report.expect(1)
	}
	c.launch(g, waiter, c.runOnce)
	return g
}

// launch runs the work of a goal, unless it has started. Its caller holds the lock of the call.
func (c *call) launch(g, waiter *goal, work func(*goal) (*store.BuildResult, error)) {
	if waiter == nil || waiter.forwards && waiter.wanted {
		g.wanted = true
	}
	if waiter != nil {
		c.breakCircle(g, waiter)
		g.waiters = append(g.waiters, waiter)
	}
	if !g.started {
		g.started, g.done, g.wake = true, make(chan struct{}), make(chan struct{}, 1)
		c.turns.prepare()
		c.goDo(func() error {
			defer close(g.done)
			return c.run(g, work)
		})
	}
}

// collect builds a derivation that the caller wants, and sets the result when its goal has ended.
func (c *call) collect(r *store.KeyedBuildResult, built derivation.Built) {
	g, err := c.startWanted(built)
	if err != nil {
		c.abort(err)
		return
	}
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

// startWanted starts the goal of a path that the caller wants.
func (c *call) startWanted(built derivation.Built) (*goal, error) {
	if isDynamic(built) {
		return c.startDynamic(built, nil)
	}
	if err := c.checkNames(built); err != nil {
		return nil, err
	}
	return c.start(built.Base(), nil), nil
}

// checkNames returns an error for an output that the derivation does not have, before anything is built for it. The goal reports a
// derivation that cannot be read.
func (c *call) checkNames(built derivation.Built) error {
	if built.Outputs.Names().Len() == 0 { // all outputs
		return nil
	}
	d, err := c.derivation(built.Base())
	if err != nil {
		return nil
	}
	for _, name := range built.Outputs.Names().Slice() {
		if _, has := d.Outputs.Get(name); !has {
			return fmt.Errorf("derivation '%s' does not have output '%s'", built.Base(), name)
		}
	}
	return nil
}

// run does the work of a goal, and records its result.
func (c *call) run(g *goal, work func(*goal) (*store.BuildResult, error)) error {
	result, err := work(g)
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
	keepsGoing := c.keepsGoing()
	awaited := false // by a goal that has not failed yet; Nix then logs the failure, also if the caller gets the result
	c.mu.Lock()
	g.hasFailed = true
	for _, w := range g.waiters {
		awaited = awaited || !w.doomed && !w.forwards
		if !keepsGoing {
			w.doomed = true
			w.wakeUnless(g.wanted)
		}
	}
	wanted := g.wanted
	c.mu.Unlock()
	if awaited {
		c.logDependency(result.Message)
	}
	if wanted {
		c.failed() // as in Nix, only the failure of what the caller wants stops the call
	}
	return nil
}

// wakeUnless tells a goal that something that it needs has failed. If the caller wants that too, its failure stops the call,
// and the goal counts as not tried.
func (g *goal) wakeUnless(wanted bool) {
	if wanted {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
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
	if err := c.requireFeatures(d); err != nil {
		return nil, err
	}
	if err := c.checkPure(g.drv, d); err != nil {
		return nil, err
	}
	failed, err := c.makeInputs(g, d)
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
	req := &builder.Request{Path: g.drv, Derivation: d, Inputs: inputs, Mode: c.modeOf(g)}
	resolve, err := c.mustResolve(d)
	if err != nil {
		return nil, err
	}
	var result *store.BuildResult
	if resolve {
		if req, result, err = c.resolve(req); err != nil {
			return nil, err
		}
	}
	if result == nil {
		prepared = true
		if result, err = c.execute(req); err != nil {
			return nil, err
		}
	}
	if resolve {
		result = c.resultOfResolved(req.Path, result)
	}
	if result.Status.Succeeded() {
		err = c.register(g.drv, d, resolve, result.Outputs)
	}
	if err == nil {
		err = c.afterBuild(req.Path, result)
	}
	return result, err
}

// modeOf returns the mode in which a derivation is built: what the caller wants is checked or repaired, and its inputs are
// only made valid.
func (c *call) modeOf(g *goal) store.BuildMode {
	if c.isWanted(g) {
		return c.mode
	}
	return store.BuildNormal
}

// isWanted reports whether a caller gets the result of a goal.
func (c *call) isWanted(g *goal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return g.wanted
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
	return d, c.checkText(drv, text, d.References().Slice())
}

// checkText returns an error unless the path of a derivation follows from its text. The references of a derivation that
// a builder made are the paths that occur in it, which may be others than its inputs.
func (c *call) checkText(drv storepath.Path, text string, inputs []storepath.Path) error {
	hash := nixhash.Sum(nixhash.SHA256, []byte(text))
	own, err := drv.Dir().TextPath(drv.Name(), hash, inputs)
	if err != nil || own == drv {
		return err
	}
	info, err := c.store.QueryPathInfo(c.ctx, drv)
	if err != nil {
		return err
	}
	if other, err := drv.Dir().TextPath(drv.Name(), hash, info.References); err != nil || other != drv {
		return fmt.Errorf("'%s' is damaged: the path of its contents is '%s'", drv, own)
	}
	return c.store.outer.checkInputs(drv, inputs)
}

// buildBasic builds a derivation whose input derivations are built.
func (c *call) buildBasic(path storepath.Path, d *derivation.Derivation) (*store.BuildResult, error) {
	c.report.expect(1)
	failed, err := c.makeSources(d)
	if err != nil {
		return nil, err
	}
	if failed > 0 {
		return dependencyFailed(path, d, failed), nil
	}
	c.turns.prepare()
	result, err := c.execute(&builder.Request{Path: path, Derivation: d, Mode: c.mode})
	if err == nil {
		err = c.afterBuild(path, result)
	}
	return result, err
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
