package substitute

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// BuildPaths substitutes paths, and the wanted outputs of derivations if all of them are available.
// The error is a [*store.BuildError], also if something has to be built.
func (s *Store) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	c := s.newCall(ctx)
	defer c.end()
	results, err := c.build(ctx, paths, mode)
	if err != nil {
		return buildError(ctx, paths, err)
	}
	if err := store.ResultsError(activity.HandlerOf(c.ctx), results); err != nil {
		return buildError(ctx, paths, err)
	}
	return nil
}

func buildError(ctx context.Context, paths []derivation.DerivedPath, err error) error {
	if ctx.Err() != nil || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return &store.BuildError{Paths: paths, Err: err}
}

// BuildPathsWithResults is like [Store.BuildPaths], but returns a result for each path. Paths that were
// not tried because another one failed are left out, unless [Settings.KeepGoing] is set.
func (s *Store) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	c := s.newCall(ctx)
	defer c.end()
	results, err := c.build(ctx, paths, mode)
	if err != nil {
		return nil, buildError(ctx, paths, err)
	}
	tried := results[:0]
	for _, r := range results {
		if r.Status.Succeeded() || r.Message != "" {
			tried = append(tried, r)
		}
	}
	return tried, nil
}

// build makes paths valid, and returns a result for each. A path that was not tried has a failed result
// without a message. Only a build can check the outputs of a derivation; a path that is no output has nothing to check.
func (c *call) build(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	isBuilt := func(path derivation.DerivedPath) bool { _, ok := path.(derivation.Built); return ok }
	if mode == store.BuildCheck && slices.ContainsFunc(paths, isBuilt) {
		return nil, &store.UnsupportedError{Store: c.store.Store, What: "build"}
	}
	results, err := c.substituteAll(c.ctx, paths, mode == store.BuildRepair)
	if err != nil {
		return nil, causeOr(ctx, err)
	}
	return results, nil
}

// substituteAll substitutes the requested paths and derivations, and then the outputs of the derivations.
func (c *call) substituteAll(ctx context.Context, paths []derivation.DerivedPath, repair bool) ([]store.KeyedBuildResult, error) {
	var files []storepath.Path
	for _, path := range paths {
		if built, ok := path.(derivation.Built); !ok {
			c.repair[path.Base()], c.requested[path.Base()] = repair, true
			files = append(files, path.Base())
		} else if drv, ok := built.Drv.(derivation.Opaque); ok {
			files = append(files, drv.Path)
		}
	}
	if err := c.substitute(ctx, files); err != nil {
		return nil, err
	}
	tried := !c.shouldStop(files)
	results := make([]store.KeyedBuildResult, len(paths))
	outputs := make([][]storepath.Path, len(paths))
	var lacking []storepath.Path
	var err error
	for i, path := range paths {
		if results[i], err = c.fileResult(ctx, path); err != nil {
			return nil, err
		}
		built, ok := path.(derivation.Built)
		if !ok || !tried || !results[i].Status.Succeeded() {
			continue
		}
		if outputs[i], err = c.substitutableOutputs(ctx, built, repair); err != nil {
			return nil, err
		}
		lacking = append(lacking, outputs[i]...)
	}
	if lacking, err = c.filterComplete(ctx, lacking, outputs); err != nil {
		return nil, err
	}
	if err := c.substitute(ctx, lacking); err != nil {
		return nil, err
	}
	for i, path := range paths {
		if built, ok := path.(derivation.Built); ok && results[i].Status.Succeeded() {
			if results[i], err = c.outputsResult(ctx, built, outputs[i], tried); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// filterComplete returns the outputs of those derivations whose wanted outputs are all available. A
// derivation that has to be built needs none of them, so it clears their entries in the lists.
func (c *call) filterComplete(ctx context.Context, lacking []storepath.Path, outputs [][]storepath.Path) ([]storepath.Path, error) {
	if len(lacking) == 0 {
		return nil, nil
	}
	if _, err := c.plan(ctx, lacking); err != nil {
		return nil, err
	}
	var wanted []storepath.Path
	for i, list := range outputs {
		if slices.ContainsFunc(list, func(p storepath.Path) bool { return c.failed[p] != nil }) {
			outputs[i] = nil
			continue
		}
		wanted = append(wanted, list...)
	}
	return wanted, nil
}

// fileResult returns the result for a path, or for the file of a derivation.
func (c *call) fileResult(ctx context.Context, path derivation.DerivedPath) (store.KeyedBuildResult, error) {
	r := store.KeyedBuildResult{Path: path, BuildResult: store.BuildResult{Status: store.AlreadyValid}}
	built, isBuilt := path.(derivation.Built)
	file := path.Base()
	if isBuilt {
		drv, ok := built.Drv.(derivation.Opaque)
		if !ok {
			return r, nil // the path of a dynamic derivation is not known
		}
		file = drv.Path
	}
	valid, err := c.store.IsValidPath(ctx, file)
	why := c.failed[file]
	switch {
	case why != nil && isBuilt:
		r.Status, r.Message = store.DependencyFailed, fmt.Sprintf("failed to obtain derivation of '%s'", file)
	case why != nil:
		r.Status, r.Message = why.Status, why.Reason
	case !valid:
		r.Status = store.NoSubstituters // it was not tried
	case c.fetched[file]:
		r.Status = store.Substituted
	}
	return r, err
}

// substitutableOutputs returns the wanted outputs of a derivation that are not valid, if all of them may
// be substituted. It asks substituters for the paths of outputs that are not known.
func (c *call) substitutableOutputs(ctx context.Context, built derivation.Built, repair bool) (lacking []storepath.Path, err error) {
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return nil, nil
	}
	outputs, err := store.OutputMap(ctx, c.store.Store, drv.Path)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for name, path := range outputs {
		switch {
		case !built.Outputs.Contains(name):
		case path == "":
			unknown = append(unknown, name)
		default:
			if lacking, err = c.appendLacking(ctx, lacking, path, repair); err != nil {
				return nil, err
			}
		}
	}
	if len(lacking)+len(unknown) == 0 {
		return nil, nil
	}
	if allowed, err := c.allowsSubstitutes(ctx, drv.Path); err != nil || !allowed {
		return nil, err
	}
	for _, name := range unknown {
		path, err := c.findOutput(ctx, drv.Path, name, true)
		if err == nil && path != "" {
			lacking, err = c.appendLacking(ctx, lacking, path, repair)
		}
		if err != nil || path == "" {
			return nil, err
		}
	}
	return lacking, nil
}

// appendLacking appends a path if it is not valid or has to be fetched again.
func (c *call) appendLacking(ctx context.Context, lacking []storepath.Path, path storepath.Path, repair bool) ([]storepath.Path, error) {
	valid, err := c.store.IsValidPath(ctx, path)
	if err == nil && (!valid || repair) {
		c.repair[path] = repair
		lacking = append(lacking, path)
	}
	return lacking, err
}

// outputsResult returns the result for the outputs of a derivation; wanted were to be substituted.
func (c *call) outputsResult(ctx context.Context, built derivation.Built, wanted []storepath.Path, tried bool) (store.KeyedBuildResult, error) {
	if err := c.registerOutputs(ctx, built.Drv.Base()); err != nil {
		return store.KeyedBuildResult{}, err
	}
	r, err := store.PresentResult(ctx, c.store.Store, built)
	if err != nil {
		return r, err
	}
	impossible, failed := false, false
	for _, path := range wanted {
		if c.fetched[path] && r.Status.Succeeded() {
			r.Status = store.Substituted
		}
		if why := c.failed[path]; why != nil {
			impossible, failed = true, failed || why.Failed
		}
	}
	switch {
	case r.Status.Succeeded():
	case failed && !c.settings.Fallback:
		r.Status, r.Message = store.TransientFailure, fmt.Sprintf("some substitutes for the outputs of derivation '%s' failed (usually happens due to networking issues); try '--fallback' to build derivation from source ", built.Drv)
	case !tried || len(wanted) > 0 && !impossible:
		r.Message = ""
	}
	return r, nil
}

// allowsSubstitutes reports whether the outputs of a valid derivation may be substituted, by its options or by the
// settings of the call. It records the content addresses of fixed outputs, because a substituter with another store
// directory finds them by these.
func (c *call) allowsSubstitutes(ctx context.Context, drv storepath.Path) (bool, error) {
	s := c.store.Store
	lent, release := store.LendDerivations(s)
	defer release()
	text, err := store.Derivations(lent).LoadDerivation(ctx, drv)
	if err != nil {
		return false, err
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		return false, err
	}
	if kind, err := d.Kind(); err != nil || kind == derivation.Impure {
		return false, err
	}
	for _, output := range d.Outputs.All() {
		if path, ca := output.Path(), output.ContentAddress(); output.Kind() == derivation.Fixed && path != "" {
			c.cas[path] = ca
		}
	}
	allowed, err := d.AllowsSubstitutes()
	if err != nil || allowed {
		return allowed, err
	}
	_, err = c.openSearch()
	return c.settings.AlwaysAllowed, err
}
