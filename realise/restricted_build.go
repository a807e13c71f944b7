package realise

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

var (
	_ store.Builder        = (*restricted)(nil)
	_ store.ResultBuilder  = (*restricted)(nil)
	_ store.MissingQuerier = (*restricted)(nil)
)

// link returns the context of an operation: with the values of the call that builds the builder, so that a builder
// changes neither settings nor substituters, but with the end and the memory budget of the operation itself. The other
// budget gets nothing back before the call has ended.
func (r *restricted) link(ctx context.Context) (linked context.Context, end func()) {
	linked, cancel := context.WithCancelCause(r.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return store.WithClosureBudget(linked, store.ClosureBudgetOf(ctx)), func() {
		stop()
		cancel(nil)
	}
}

// BuildPaths implements [store.Builder].
func (r *restricted) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	results, err := r.BuildPathsWithResults(ctx, paths, mode)
	if err == nil {
		err = store.ResultsError(activity.HandlerOf(r.ctx), results)
	}
	return err
}

// BuildPathsWithResults implements [store.ResultBuilder]. The closures of the outputs get into the scope.
func (r *restricted) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	if mode != store.BuildNormal {
		return nil, errors.New("unsupported build mode")
	}
	for _, path := range paths {
		if !r.scope.Has(path.Base()) {
			return nil, fmt.Errorf("cannot build '%s' in recursive Nix because path is unknown", path)
		}
	}
	ctx, end := r.link(ctx)
	defer end()
	results, err := r.inner.BuildPathsWithResults(ctx, paths, mode)
	if err != nil {
		return nil, err
	}
	var outputs []storepath.Path
	for _, result := range results {
		if !result.Status.Succeeded() {
			continue
		}
		for name, out := range result.Outputs {
			outputs = append(outputs, out.OutPath)
			if err := r.addBuilt(ctx, result.Path, name); err != nil {
				return nil, err
			}
		}
	}
	return results, r.addClosure(ctx, outputs)
}

// addBuilt records an output that the builder has built, under both names that a query may have for it.
func (r *restricted) addBuilt(ctx context.Context, path derivation.DerivedPath, name string) error {
	built, ok := path.(derivation.Built)
	if !ok {
		return nil
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return nil
	}
	hash, err := store.DrvHash(ctx, r.inner, drv.Path)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.built == nil {
		r.built = make(map[store.DrvOutput]bool)
	}
	r.built[store.DrvOutput{Path: drv.Path, Output: name}] = true
	r.built[store.DrvOutput{Hash: hash, Output: name}] = true
	return nil
}

// addClosure adds the closure of paths to the scope, references first.
func (r *restricted) addClosure(ctx context.Context, roots []storepath.Path) error {
	if err := store.AddTempRoots(ctx, r.inner, roots); err != nil {
		return err
	}
	infos := make(map[storepath.Path]*store.PathInfo)
	for info, err := range store.Closure(ctx, r.inner, roots...) {
		if err != nil {
			return err
		}
		infos[info.Path] = info
	}
	var add func(path storepath.Path) error
	add = func(path storepath.Path) error {
		info := infos[path]
		if info == nil || r.scope.Has(path) {
			return nil
		}
		delete(infos, path)
		for _, ref := range info.References {
			if err := add(ref); err != nil {
				return err
			}
		}
		return r.scope.Add(ctx, path)
	}
	for _, root := range roots {
		if err := add(root); err != nil {
			return err
		}
	}
	return nil
}

// QueryMissing implements [store.MissingQuerier]. Paths that the scope lacks are unknown.
func (r *restricted) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	var known []derivation.DerivedPath
	var unknown []storepath.Path
	for _, path := range paths {
		if r.scope.Has(path.Base()) {
			known = append(known, path)
		} else {
			unknown = append(unknown, path.Base())
		}
	}
	ctx, end := r.link(ctx)
	defer end()
	missing, err := store.QueryMissing(ctx, r.inner, known)
	if err != nil {
		return nil, err
	}
	missing.Unknown = append(missing.Unknown, unknown...)
	slices.Sort(missing.Unknown)
	missing.Unknown = slices.Compact(missing.Unknown)
	return missing, nil
}

// QueryRealisation implements [store.RealisationStore], for outputs that the builder has built.
func (r *restricted) QueryRealisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if !r.hasBuilt(id) {
		return nil, store.ErrNotFound
	}
	return store.QueryRealisation(ctx, r.inner, id)
}

func (r *restricted) hasBuilt(id store.DrvOutput) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.built[store.DrvOutput{Path: id.Path, Output: id.Output}] || r.built[store.DrvOutput{Hash: id.Hash, Output: id.Output}]
}

// RegisterDrvOutput is refused, with the text of Nix.
func (r *restricted) RegisterDrvOutput(context.Context, store.KeyedRealisation) error {
	return errors.New("registerDrvOutput")
}

// DrvHash implements [store.DrvHasher].
func (r *restricted) DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error) {
	if !r.scope.Has(drv) {
		return nixhash.Hash{}, &store.NotFoundError{Path: drv}
	}
	return store.DrvHash(ctx, r.inner, drv)
}
