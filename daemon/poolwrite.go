package daemon

import (
	"context"
	"io"
	"iter"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// The operations of a pool that may change something.

// withLease makes a call on a connection that it has for itself.
func withLease[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	l, err := p.lend(ctx)
	if err != nil {
		return reply, err
	}
	defer l.release()
	return call(l.Conn)
}

func (p *Pool) withLease(ctx context.Context, call func(*Conn) error) error {
	_, err := withLease(ctx, p, func(c *Conn) (struct{}, error) { return struct{}{}, call(c) })
	return err
}

// AddTextToStore adds a file, as builtins.toFile does: see [Conn.AddTextToStore].
func (p *Pool) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	return withLease(ctx, p, func(c *Conn) (storepath.Path, error) { return c.AddTextToStore(ctx, name, contents, references) })
}

// AddToStore adds an object by its contents: see [Conn.AddToStore].
func (p *Pool) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	return withLease(ctx, p, func(c *Conn) (*store.PathInfo, error) {
		return c.AddToStore(ctx, name, m, a, references, &callbackReader{c, contents}, opts)
	})
}

// AddToStoreNAR adds an object of which everything is known: see [Conn.AddToStoreNAR].
func (p *Pool) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, opts *store.AddOptions) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddToStoreNAR(ctx, info, &callbackReader{c, nar}, opts) })
}

// AddMultipleToStore adds n objects, those that others refer to first: see [Conn.AddMultipleToStore].
func (p *Pool) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddMultipleToStore(ctx, n, c.callbackObjects(objects), opts) })
}

// AddSignatures adds signatures to a valid path: see [Conn.AddSignatures].
func (p *Pool) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddSignatures(ctx, path, signatures) })
}

// AddBuildLog adds the log of a derivation: see [Conn.AddBuildLog].
func (p *Pool) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddBuildLog(ctx, drv, &callbackReader{c, log}) })
}

// RegisterDrvOutput tells the daemon which path an output of a derivation has got: see [Conn.RegisterDrvOutput].
func (p *Pool) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	return p.withLease(ctx, func(c *Conn) error { return c.RegisterDrvOutput(ctx, r) })
}

// BuildPaths makes the paths valid: see [Conn.BuildPaths].
func (p *Pool) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	return p.withLease(ctx, func(c *Conn) error { return c.BuildPaths(ctx, paths, mode) })
}

// BuildPathsWithResults makes the paths valid, and says of each how that ended: see [Conn.BuildPathsWithResults].
func (p *Pool) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	return withLease(ctx, p, func(c *Conn) ([]store.KeyedBuildResult, error) { return c.BuildPathsWithResults(ctx, paths, mode) })
}

// BuildDerivation builds a derivation that need not be in the store: see [Conn.BuildDerivation].
func (p *Pool) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	return withLease(ctx, p, func(c *Conn) (*store.BuildResult, error) { return c.BuildDerivation(ctx, path, d, mode) })
}

// EnsurePath makes a path valid by substitution: see [Conn.EnsurePath].
func (p *Pool) EnsurePath(ctx context.Context, path storepath.Path) error {
	return p.withLease(ctx, func(c *Conn) error { return c.EnsurePath(ctx, path) })
}

// AddTempRoot keeps a path from being collected as long as the pool is open: see [Conn.AddTempRoot].
func (p *Pool) AddTempRoot(ctx context.Context, path storepath.Path) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddTempRoot(ctx, path) })
}

// AddTempRoots keeps paths from being collected as long as the pool is open: see [Conn.AddTempRoots].
func (p *Pool) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddTempRoots(ctx, paths) })
}

// AddIndirectRoot makes the symlink at link a root: see [Conn.AddIndirectRoot].
func (p *Pool) AddIndirectRoot(ctx context.Context, link string) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddIndirectRoot(ctx, link) })
}

// AddPermRoot makes a symlink at link to path, and that a root: see [Conn.AddPermRoot].
func (p *Pool) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	return withLease(ctx, p, func(c *Conn) (string, error) { return c.AddPermRoot(ctx, path, link) })
}

// CollectGarbage collects garbage, or says what it would collect: see [Conn.CollectGarbage].
func (p *Pool) CollectGarbage(ctx context.Context, opts store.GCOptions) (*store.GCResult, error) {
	return withLease(ctx, p, func(c *Conn) (*store.GCResult, error) { return c.CollectGarbage(ctx, opts) })
}

// SyncWithGC does nothing since Nix 2.4: see [Conn.SyncWithGC].
func (p *Pool) SyncWithGC(ctx context.Context) error {
	return p.withLease(ctx, func(c *Conn) error { return c.SyncWithGC(ctx) })
}

// OptimiseStore makes equal files in the store one: see [Conn.OptimiseStore].
func (p *Pool) OptimiseStore(ctx context.Context) error {
	return p.withLease(ctx, func(c *Conn) error { return c.OptimiseStore(ctx) })
}

// VerifyStore checks the store, and reports whether errors remain: see [Conn.VerifyStore].
func (p *Pool) VerifyStore(ctx context.Context, checkContents, repair bool) (bool, error) {
	return withLease(ctx, p, func(c *Conn) (bool, error) { return c.VerifyStore(ctx, checkContents, repair) })
}
