package daemon

import (
	"context"
	"errors"
	"io"
	"iter"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Operations that only read.

// withShared makes a call on the shared connection. If that is lost, it repeats the call once
// on another.
func withShared[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	for range 2 {
		if reply, err = onceShared(ctx, p, call); !p.mayRetry(ctx, err) {
			break
		}
	}
	return reply, err
}

func onceShared[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	c, release, err := p.acquireShared(ctx)
	if err != nil {
		return reply, err
	}
	defer release()
	return call(c)
}

// withLeaseRetry makes an exclusive call that only reads. If the connection is lost, it repeats
// the call once on another.
func withLeaseRetry[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	for range 2 {
		if reply, err = withLease(ctx, p, call); !p.mayRetry(ctx, err) {
			break
		}
	}
	return reply, err
}

// mayRetry reports whether a call that changes nothing may be repeated.
func (p *Pool) mayRetry(ctx context.Context, err error) bool {
	return errors.Is(err, ErrConnLost) && !errors.Is(err, ErrClosed) && ctx.Err() == nil
}

// IsValidPath reports whether a path is valid: see [Conn.IsValidPath].
func (p *Pool) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	return withShared(ctx, p, func(c *Conn) (bool, error) { return c.IsValidPath(ctx, path) })
}

// QueryPathInfo returns the path info of a path: see [Conn.QueryPathInfo].
func (p *Pool) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	return withShared(ctx, p, func(c *Conn) (*store.PathInfo, error) { return c.QueryPathInfo(ctx, path) })
}

// QueryReferrers returns the valid paths that refer to a path: see [Conn.QueryReferrers].
func (p *Pool) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryReferrers(ctx, path) })
}

// QueryValidDerivers returns the valid derivations that have a path as an output: see [Conn.QueryValidDerivers].
func (p *Pool) QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryValidDerivers(ctx, path) })
}

// QueryDeriver returns the deriver of a valid path: see [Conn.QueryDeriver].
func (p *Pool) QueryDeriver(ctx context.Context, path storepath.Path) (storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) (storepath.Path, error) { return c.QueryDeriver(ctx, path) })
}

// QueryPathFromHashPart returns the valid path with a hash part: see [Conn.QueryPathFromHashPart].
func (p *Pool) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) (storepath.Path, error) { return c.QueryPathFromHashPart(ctx, hashPart) })
}

// QueryRealisation returns the path of an output of a derivation: see [Conn.QueryRealisation].
func (p *Pool) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	return withShared(ctx, p, func(c *Conn) (*store.Realisation, error) { return c.QueryRealisation(ctx, output) })
}

// QueryAllValidPaths returns all valid paths: see [Conn.QueryAllValidPaths].
func (p *Pool) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryAllValidPaths(ctx) })
}

// QueryDerivationOutputs returns the output paths of a derivation: see [Conn.QueryDerivationOutputs].
func (p *Pool) QueryDerivationOutputs(ctx context.Context, drv storepath.Path) ([]storepath.Path, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryDerivationOutputs(ctx, drv) })
}

// QueryDerivationOutputNames returns the output names of a derivation: see [Conn.QueryDerivationOutputNames].
func (p *Pool) QueryDerivationOutputNames(ctx context.Context, drv storepath.Path) ([]string, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]string, error) { return c.QueryDerivationOutputNames(ctx, drv) })
}

// QuerySubstitutablePaths returns the paths that a substituter has: see
// [Conn.QuerySubstitutablePaths].
func (p *Pool) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QuerySubstitutablePaths(ctx, paths) })
}

// QuerySubstitutablePathInfo returns a substituter's info about a path: see
// [Conn.QuerySubstitutablePathInfo].
func (p *Pool) QuerySubstitutablePathInfo(ctx context.Context, path storepath.Path) (*store.SubstitutableInfo, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) (*store.SubstitutableInfo, error) { return c.QuerySubstitutablePathInfo(ctx, path) })
}

// QuerySubstitutablePathInfos returns the substituters' infos about paths: see
// [Conn.QuerySubstitutablePathInfos].
func (p *Pool) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]store.SubstitutableInfo, error) { return c.QuerySubstitutablePathInfos(ctx, paths) })
}

// QueryMissing returns what the daemon would build and substitute to make paths valid: see
// [Conn.QueryMissing].
func (p *Pool) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) (*store.Missing, error) { return c.QueryMissing(ctx, paths) })
}

// FindRoots returns the garbage collector roots: see [Conn.FindRoots].
func (p *Pool) FindRoots(ctx context.Context) ([]store.Root, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]store.Root, error) { return c.FindRoots(ctx) })
}

// QueryValidPaths returns the valid paths among the given ones: see [Conn.QueryValidPaths].
func (p *Pool) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	if substitute {
		return withLease(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryValidPaths(ctx, paths, true) })
	}
	return withShared(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryValidPaths(ctx, paths, false) })
}

// QueryDerivationOutputMap returns the outputs of a derivation by name: see
// [Conn.QueryDerivationOutputMap].
func (p *Pool) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) (map[string]storepath.Path, error) { return c.QueryDerivationOutputMap(ctx, drv) })
}

// URI returns the name of the daemon for error messages: see [Transport].
func (p *Pool) URI() string { return p.transport.String() }

// QueryPathInfos returns an iterator over the path infos of paths: see [Conn.QueryPathInfos].
func (p *Pool) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return walkPaths(ctx, p.asSource, paths)
}

// QueryClosure returns an iterator over the path infos of the closure of the roots: see
// [store.Closure].
func (p *Pool) QueryClosure(ctx context.Context, roots ...storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return store.Closure(ctx, p, roots...)
}

func (p *Pool) asSource(ctx context.Context) (*Conn, func(), bool, error) {
	c, release, err := p.acquireShared(ctx)
	return c, release, true, err
}

// NARFromPath returns the archive of an object: see [Conn.NARFromPath]. It uses a connection
// exclusively until it is read to its end or closed.
func (p *Pool) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := p.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	var r *archiveReader
	for range 2 {
		if r, err = p.openArchive(ctx, info); err == nil {
			return r, nil
		}
		if !p.mayRetry(ctx, err) {
			break
		}
	}
	return nil, err
}

// openArchive leases a connection until the end of the archive.
func (p *Pool) openArchive(ctx context.Context, info *store.PathInfo) (r *archiveReader, err error) {
	l, err := p.acquireLease(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r == nil { // also after a panic in a handler
			l.release()
		}
	}()
	return l.openArchive(ctx, info, l.release)
}

// withLease makes an exclusive call.
func withLease[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	l, err := p.acquireLease(ctx)
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

// AddToStore adds an object with given contents: see [Conn.AddToStore].
func (p *Pool) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	return withLease(ctx, p, func(c *Conn) (*store.PathInfo, error) {
		return c.AddToStore(ctx, name, m, a, references, &callbackReader{c, contents}, opts)
	})
}

// AddToStoreNAR adds an object with a given path info: see [Conn.AddToStoreNAR].
func (p *Pool) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, opts *store.AddOptions) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddToStoreNAR(ctx, info, &callbackReader{c, nar}, opts) })
}

// AddMultipleToStore adds n objects, references first: see [Conn.AddMultipleToStore].
func (p *Pool) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddMultipleToStore(ctx, n, c.callbackObjects(objects), opts) })
}

// AddSignatures adds signatures to a valid path: see [Conn.AddSignatures].
func (p *Pool) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddSignatures(ctx, path, signatures) })
}

// AddBuildLog adds the build log of a derivation: see [Conn.AddBuildLog].
func (p *Pool) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddBuildLog(ctx, drv, &callbackReader{c, log}) })
}

// RegisterDrvOutput registers the path of an output of a derivation: see
// [Conn.RegisterDrvOutput].
func (p *Pool) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	return p.withLease(ctx, func(c *Conn) error { return c.RegisterDrvOutput(ctx, r) })
}

// BuildPaths makes the paths valid: see [Conn.BuildPaths].
func (p *Pool) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	return p.withLease(ctx, func(c *Conn) error { return c.BuildPaths(ctx, paths, mode) })
}

// BuildPathsWithResults makes the paths valid and returns a result for each: see
// [Conn.BuildPathsWithResults].
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

// AddTempRoot protects a path from garbage collection while the pool is open: see
// [Conn.AddTempRoot].
func (p *Pool) AddTempRoot(ctx context.Context, path storepath.Path) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddTempRoot(ctx, path) })
}

// AddTempRoots protects paths from garbage collection while the pool is open: see
// [Conn.AddTempRoots].
func (p *Pool) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddTempRoots(ctx, paths) })
}

// AddIndirectRoot registers a symlink as a root: see [Conn.AddIndirectRoot].
func (p *Pool) AddIndirectRoot(ctx context.Context, link string) error {
	return p.withLease(ctx, func(c *Conn) error { return c.AddIndirectRoot(ctx, link) })
}

// AddPermRoot creates a symlink to a path and registers it as a root: see [Conn.AddPermRoot].
func (p *Pool) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	return withLease(ctx, p, func(c *Conn) (string, error) { return c.AddPermRoot(ctx, path, link) })
}

// CollectGarbage collects garbage, or returns what it would collect: see [Conn.CollectGarbage].
func (p *Pool) CollectGarbage(ctx context.Context, opts store.GCOptions) (*store.GCResult, error) {
	return withLease(ctx, p, func(c *Conn) (*store.GCResult, error) { return c.CollectGarbage(ctx, opts) })
}

// SyncWithGC has no effect since Nix 2.4: see [Conn.SyncWithGC].
func (p *Pool) SyncWithGC(ctx context.Context) error {
	return p.withLease(ctx, func(c *Conn) error { return c.SyncWithGC(ctx) })
}

// OptimiseStore replaces identical files in the store with hard links: see
// [Conn.OptimiseStore].
func (p *Pool) OptimiseStore(ctx context.Context) error {
	return p.withLease(ctx, func(c *Conn) error { return c.OptimiseStore(ctx) })
}

// VerifyStore checks the store, and reports whether errors remain: see [Conn.VerifyStore].
func (p *Pool) VerifyStore(ctx context.Context, checkContents, repair bool) (bool, error) {
	return withLease(ctx, p, func(c *Conn) (bool, error) { return c.VerifyStore(ctx, checkContents, repair) })
}

// allCapabilities are the capabilities of a connection. If the daemon's version lacks an
// operation, or the daemon does not trust the user, the method returns an error.
type allCapabilities interface {
	store.Store
	store.AllPathsQuerier
	store.InfosQuerier
	store.ReferrerQuerier
	store.DeriverQuerier
	store.HashPartQuerier
	store.OutputQuerier
	store.SubstituteQuerier
	store.MissingQuerier
	store.RealisationStore
	store.TextAdder
	store.Adder
	store.NARAdder
	store.MultipleAdder
	store.NARReader
	store.ManyNARReader
	store.Signer
	store.LogAdder
	store.Builder
	store.ResultBuilder
	store.DerivationBuilder
	store.Ensurer
	store.TempRooter
	store.Rooter
	store.Collector
	store.Optimiser
	store.Verifier
}

var (
	_ allCapabilities = (*Conn)(nil)
	_ allCapabilities = (*Pool)(nil)

	_ store.ClosureOpener = (*Pool)(nil)
	_ allCapabilities     = (*Session)(nil)
)
