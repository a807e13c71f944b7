package realise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"pix/activity"
	"pix/derivation"
	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// A call is one call of a method of a [Store], which makes paths valid.
type call struct {
	store  *Store
	mode   store.BuildMode
	ctx    context.Context // ends at the first failure, unless the settings have KeepGoing
	stop   context.CancelCauseFunc
	guard  parallel.Guard
	report *report
	turns  turns // the slots of this call

	settings *Settings
	session  *buildSession // nil before the settings are read

	mu      sync.Mutex
	goals   map[storepath.Path]*goal // by derivation
	dynamic dynamicGoals
	fatal   error // ends the whole call
	tasks   sync.WaitGroup
}

// errStopped ends the goals of a call in which another goal has failed.
var errStopped = errors.New("stopped, because another build failed")

func (s *Store) newCall(ctx context.Context, mode store.BuildMode) *call {
	c := &call{store: s, mode: mode, goals: make(map[storepath.Path]*goal)}
	c.dynamic.circle = make(chan struct{})
	ctx, c.report = newReport(ctx, &c.guard)
	c.ctx, c.stop = context.WithCancelCause(ctx)
	c.guard.Stop = c.stop
	return c
}

// end waits for the goals of the call and raises a panic of one of them again.
func (c *call) end() {
	c.stop(nil)
	c.tasks.Wait()
	if c.session != nil {
		c.warnOf("closing the session of the builds", c.session.release())
	}
	c.report.end()
	c.guard.End()
	c.guard.Repanic()
}

// goDo runs f on a goroutine of the call. An error of f ends the call. A failed build is a result, not an error.
func (c *call) goDo(f func() error) {
	c.tasks.Go(func() {
		if err := c.guard.Call(f); err != nil {
			c.abort(err)
		}
	})
}

// abort ends the call with an error.
func (c *call) abort(err error) {
	c.mu.Lock()
	if c.fatal == nil && c.ctx.Err() == nil {
		c.fatal = err
	}
	c.mu.Unlock()
	c.stop(err)
}

// cause returns the first error of the call instead of the cancellation that followed from it.
func (c *call) cause(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return c.fatal
	}
	return err
}

// load returns the settings of the call. It reads them once.
func (c *call) load() (*Settings, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settings != nil {
		return c.settings, nil
	}
	settings, session, err := c.store.callSettings(c.ctx)
	if err != nil {
		return nil, err
	}
	c.settings, c.session = settings, session
	c.turns.add(c.store.opts.Slots.most(settings.MaxJobs))
	return settings, nil
}

// realise makes paths valid. A result that is neither a success nor has a message belongs to a path that the call did
// not try.
func (s *Store) realise(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	c := s.newCall(ctx, mode)
	defer c.end()
	results, err := c.realise(paths)
	c.stop(nil)
	c.tasks.Wait()
	err = c.cause(err)
	untried := slices.ContainsFunc(results, func(r store.KeyedBuildResult) bool { return !r.Status.Succeeded() })
	if ctx.Err() != nil && (err != nil || untried) {
		return nil, context.Cause(ctx)
	}
	return results, err
}

func (c *call) realise(paths []derivation.DerivedPath) ([]store.KeyedBuildResult, error) {
	if err := c.fetchDerivations(paths); err != nil {
		return nil, err
	}
	build, err := c.plan(paths, true)
	if err != nil {
		return nil, err
	}
	results := make([]store.KeyedBuildResult, len(paths))
	var rest []int // the paths that need no build
	c.turns.prepare()
	for i, path := range paths {
		results[i].Path, results[i].Status = path, store.MiscFailure
		if built, ok := path.(derivation.Built); ok && (build[built.Base()] || isDynamic(built) || c.mode != store.BuildNormal) {
			c.collect(&results[i], built)
		} else {
			rest = append(rest, i)
		}
	}
	c.turns.settle() // all goals that the caller wants have started
	c.goDo(func() error { return c.provide(paths, rest, results) })
	c.tasks.Wait()
	return results, nil
}

// fetchDerivations substitutes the derivations that are not valid. It ignores failed substitutions: the goal of the
// derivation reports them.
func (c *call) fetchDerivations(paths []derivation.DerivedPath) error {
	var drvs []storepath.Path
	for _, path := range paths {
		built, ok := path.(derivation.Built)
		if !ok {
			continue
		}
		if err := c.requireDynamic(built.Drv); err != nil {
			return err
		}
		drvs = append(drvs, built.Base())
	}
	if err := store.AddTempRoots(c.ctx, c.store.Store, drvs); err != nil {
		return err
	}
	missing, err := c.invalid(drvs)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = store.BuildPathsWithResults(c.ctx, c.store.Store, missing, store.BuildNormal)
	return err
}

// invalid returns the paths that are not valid, from one query.
func (c *call) invalid(paths []storepath.Path) (missing []derivation.DerivedPath, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	valid, err := c.store.QueryValidPaths(c.ctx, paths, false)
	if err != nil {
		return nil, err
	}
	present := make(map[storepath.Path]bool, len(valid))
	for _, path := range valid {
		present[path] = true
	}
	for _, path := range paths {
		if !present[path] {
			missing = append(missing, derivation.Opaque{Path: path})
		}
	}
	return missing, nil
}

// plan returns the derivations that must be built, and adds a goal for each. As Nix, the first plan of a call warns of
// dynamic paths, which it ignores.
func (c *call) plan(paths []derivation.DerivedPath, first bool) (map[storepath.Path]bool, error) {
	missing, err := store.QueryMissing(c.ctx, c.store.Store, paths)
	if err != nil {
		return nil, err
	}
	build := make(map[storepath.Path]bool, len(missing.WillBuild))
	for _, drv := range missing.WillBuild {
		build[drv] = true
	}
	if first {
		c.warnDynamic(missing.Dynamic)
	}
	added := 0
	c.mu.Lock()
	for drv := range build {
		if c.goals[drv] == nil { // a dynamic goal plans later than the call
			c.goals[drv] = &goal{drv: drv}
			added++
		}
	}
	c.mu.Unlock()
	c.report.expect(added)
	return build, nil
}

// provide makes the paths valid that need no build according to the plan, all at once. If the store below cannot
// provide one of them, the call builds its derivation.
func (c *call) provide(paths []derivation.DerivedPath, which []int, results []store.KeyedBuildResult) error {
	if len(which) == 0 {
		return nil
	}
	asked := make([]derivation.DerivedPath, len(which))
	for n, i := range which {
		asked[n] = paths[i]
	}
	present, err := c.substitute(asked, c.mode)
	if err != nil {
		return err
	}
	for n, i := range which {
		results[i] = present[n]
		built, ok := paths[i].(derivation.Built)
		switch {
		case present[n].Status.Succeeded():
			if err := c.registerPresent(&results[i]); err != nil {
				return err
			}
		case ok && present[n].Status == store.MiscFailure:
			c.collect(&results[i], built)
		case present[n].Message != "":
			c.failed()
		}
	}
	return nil
}

// substitute makes paths valid through the store below, without building. It returns the results in the order of the
// paths. The status MiscFailure means that a derivation must be built.
func (c *call) substitute(paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	if err := c.rootOutputs(paths); err != nil {
		return nil, err
	}
	some, err := store.BuildPathsWithResults(c.ctx, c.store.Store, paths, mode)
	if err != nil {
		return nil, err
	}
	byPath := make(map[string]store.KeyedBuildResult, len(some))
	for _, r := range some {
		byPath[r.Path.String()] = r
	}
	results := make([]store.KeyedBuildResult, len(paths))
	for i, path := range paths {
		r, tried := byPath[path.String()]
		if !tried {
			r = store.KeyedBuildResult{Path: path, BuildResult: store.BuildResult{Status: store.NoSubstituters}}
		}
		results[i] = r
	}
	return results, nil
}

// rootOutputs adds temporary roots for paths and known outputs, so that no collector deletes them before they are
// used.
func (c *call) rootOutputs(paths []derivation.DerivedPath) error {
	var roots []storepath.Path
	for _, path := range paths {
		roots = append(roots, path.Base())
		built, ok := path.(derivation.Built)
		if !ok {
			continue
		}
		outputs, err := store.OutputMap(c.ctx, c.store.Store, built.Base())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, out := range outputs {
			if out != "" {
				roots = append(roots, out)
			}
		}
	}
	return store.AddTempRoots(c.ctx, c.store.Store, roots)
}

// failed stops the call, unless its settings have KeepGoing.
func (c *call) failed() {
	if !c.keepsGoing() {
		c.stop(errStopped)
	}
}

// keepsGoing reports whether the settings have KeepGoing.
func (c *call) keepsGoing() bool {
	settings, err := c.load()
	return err == nil && settings.KeepGoing
}

// warnOf reports an error that does not change the result of the call.
func (c *call) warnOf(what string, err error) {
	if h := activity.HandlerOf(c.ctx); h != nil && err != nil {
		h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: fmt.Sprintf("warning: %s: %v", what, err)})
	}
}

// logDependency reports the failure of a derivation that another one needs.
func (c *call) logDependency(message string) {
	logError(activity.HandlerOf(c.ctx), message)
}
