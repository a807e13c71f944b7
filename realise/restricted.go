package realise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"pix/builder"
	"pix/store"
	"pix/storepath"
)

// A restricted store is what a builder with the feature recursive-nix sees of the store: the paths of its scope. It can
// add paths to the scope (restricted_add.go), and build (restricted_build.go). Everything else is refused, or has no
// effect, as in Nix.
//
// Three rules keep the build pure, and other paths secret. An added path must have its references in the scope. A path
// that is valid already gets into the scope only if the builder sends its contents. A derivation is built only if the
// scope has it, and so has everything that it needs. Nix checks only the last rule, without the inputs.
//
// Source: src/libstore/restricted-store.cc in Nix 2.34.8.
type restricted struct {
	inner *Store
	scope *builder.Scope
	ctx   context.Context // has the handler and the settings of the call that builds the builder

	mu    sync.Mutex
	built map[store.DrvOutput]bool // the outputs that the builder has built, each with Path and with Hash
}

var (
	_ store.AllPathsQuerier   = (*restricted)(nil)
	_ store.ReferrerQuerier   = (*restricted)(nil)
	_ store.HashPartQuerier   = (*restricted)(nil)
	_ store.SubstituteQuerier = (*restricted)(nil)
	_ store.OutputQuerier     = (*restricted)(nil)
	_ store.RealisationStore  = (*restricted)(nil)
	_ store.DrvHasher         = (*restricted)(nil)
	_ store.NARReader         = (*restricted)(nil)
	_ store.Ensurer           = (*restricted)(nil)
	_ store.ManyTempRooter    = (*restricted)(nil)
	_ store.Rooter            = (*restricted)(nil)
	_ store.Collector         = (*restricted)(nil)
	_ store.Optimiser         = (*restricted)(nil)
	_ store.Verifier          = (*restricted)(nil)
	_ store.Limiter           = (*restricted)(nil)
)

// Dir implements [store.Store].
func (r *restricted) Dir() storepath.Dir { return r.inner.Dir() }

// Close has no effect: the store belongs to the call that builds the builder.
func (r *restricted) Close() error { return nil }

// ClosureLimits implements [store.Limiter] with the limits of the store below.
func (r *restricted) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(r.inner), r }

// IsValidPath implements [store.Store].
func (r *restricted) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	if !r.scope.Has(path) {
		return false, nil
	}
	return r.inner.IsValidPath(ctx, path)
}

// QueryValidPaths implements [store.Store]. It substitutes nothing.
func (r *restricted) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	known := slices.DeleteFunc(slices.Clone(paths), func(p storepath.Path) bool { return !r.scope.Has(p) })
	return r.inner.QueryValidPaths(ctx, known, false)
}

// QueryAllValidPaths implements [store.AllPathsQuerier].
func (r *restricted) QueryAllValidPaths(context.Context) ([]storepath.Path, error) {
	return r.scope.Paths(), nil
}

// QueryPathInfo implements [store.Store]. The info lacks everything that differs between machines.
func (r *restricted) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if !r.scope.Has(path) {
		return nil, &store.NotFoundError{Path: path}
	}
	info, err := r.inner.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	return censored(info), nil
}

// censored returns a copy of an info with what follows from the contents and the references.
func censored(info *store.PathInfo) *store.PathInfo {
	return &store.PathInfo{Path: info.Path, NARHash: info.NARHash, NARSize: info.NARSize, References: info.References, CA: info.CA}
}

// QueryReferrers returns none, as in Nix.
func (r *restricted) QueryReferrers(context.Context, storepath.Path) ([]storepath.Path, error) {
	return nil, nil
}

// QueryPathFromHashPart is refused, with the text of Nix.
func (r *restricted) QueryPathFromHashPart(context.Context, string) (storepath.Path, error) {
	return "", errors.New("queryPathFromHashPart")
}

// QuerySubstitutablePaths returns none.
func (r *restricted) QuerySubstitutablePaths(context.Context, []storepath.Path) ([]storepath.Path, error) {
	return nil, nil
}

// QuerySubstitutablePathInfos returns none.
func (r *restricted) QuerySubstitutablePathInfos(context.Context, map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return nil, nil
}

// QueryDerivationOutputMap implements [store.OutputQuerier].
func (r *restricted) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	if !r.scope.Has(drv) {
		return nil, fmt.Errorf("cannot query output map for unknown path '%s' in recursive Nix", drv)
	}
	return store.OutputMap(ctx, r.inner, drv)
}

// NARFromPath implements [store.NARReader].
func (r *restricted) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if !r.scope.Has(path) {
		return nil, fmt.Errorf("cannot dump unknown path '%s' in recursive Nix", path)
	}
	return store.ReadNAR(ctx, r.inner, path)
}

// EnsurePath implements [store.Ensurer]. The paths of the scope are valid already.
func (r *restricted) EnsurePath(_ context.Context, path storepath.Path) error {
	if !r.scope.Has(path) {
		return fmt.Errorf("cannot substitute unknown path '%s' in recursive Nix", path)
	}
	return nil
}

// AddTempRoots has no effect: the paths of the scope have temporary roots until the build ends.
func (r *restricted) AddTempRoots(context.Context, []storepath.Path) error { return nil }

// AddIndirectRoot has no effect, as in Nix.
func (r *restricted) AddIndirectRoot(context.Context, string) error { return nil }

// AddPermRoot is refused.
func (r *restricted) AddPermRoot(context.Context, storepath.Path, string) (string, error) {
	return "", &store.UnsupportedError{Store: r, What: "make permanent roots"}
}

// FindRoots returns none, as in Nix.
func (r *restricted) FindRoots(context.Context) ([]store.Root, error) { return nil, nil }

// CollectGarbage has no effect, as in Nix.
func (r *restricted) CollectGarbage(context.Context, store.GCOptions) (*store.GCResult, error) {
	return new(store.GCResult), nil
}

// OptimiseStore has no effect, as in Nix.
func (r *restricted) OptimiseStore(context.Context) error { return nil }

// VerifyStore has no effect, as in Nix.
func (r *restricted) VerifyStore(context.Context, bool, bool) (errorsRemain bool, err error) {
	return false, nil
}
