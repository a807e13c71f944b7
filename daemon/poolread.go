package daemon

import (
	"context"
	"errors"
	"io"
	"iter"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// The operations of a pool that read only.

// withShared makes a call on the connection for queries, and once more on another if that is
// lost.
func withShared[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	for range 2 {
		if reply, err = onceShared(ctx, p, call); !p.again(ctx, err) {
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

// readLeased makes a call that only reads on a connection that it has for itself, and once more
// on another if that is lost.
func readLeased[T any](ctx context.Context, p *Pool, call func(*Conn) (T, error)) (reply T, err error) {
	for range 2 {
		if reply, err = withLease(ctx, p, call); !p.again(ctx, err) {
			break
		}
	}
	return reply, err
}

// again reports whether a call that changes nothing is worth another try.
func (p *Pool) again(ctx context.Context, err error) bool {
	return errors.Is(err, ErrConnLost) && !errors.Is(err, ErrClosed) && ctx.Err() == nil
}

// IsValidPath reports whether a path is valid: see [Conn.IsValidPath].
func (p *Pool) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	return withShared(ctx, p, func(c *Conn) (bool, error) { return c.IsValidPath(ctx, path) })
}

// QueryPathInfo returns what the daemon knows of a path: see [Conn.QueryPathInfo].
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

// QueryDeriver returns the derivation that made a valid path: see [Conn.QueryDeriver].
func (p *Pool) QueryDeriver(ctx context.Context, path storepath.Path) (storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) (storepath.Path, error) { return c.QueryDeriver(ctx, path) })
}

// QueryPathFromHashPart returns the valid path with a hash part: see [Conn.QueryPathFromHashPart].
func (p *Pool) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	return withShared(ctx, p, func(c *Conn) (storepath.Path, error) { return c.QueryPathFromHashPart(ctx, hashPart) })
}

// QueryRealisation returns the path that an output of a derivation has got: see [Conn.QueryRealisation].
func (p *Pool) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	return withShared(ctx, p, func(c *Conn) (*store.Realisation, error) { return c.QueryRealisation(ctx, output) })
}

// QueryAllValidPaths returns all valid paths: see [Conn.QueryAllValidPaths].
func (p *Pool) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	return readLeased(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryAllValidPaths(ctx) })
}

// QueryDerivationOutputs returns the output paths of a derivation: see [Conn.QueryDerivationOutputs].
func (p *Pool) QueryDerivationOutputs(ctx context.Context, drv storepath.Path) ([]storepath.Path, error) {
	return readLeased(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QueryDerivationOutputs(ctx, drv) })
}

// QueryDerivationOutputNames returns the output names of a derivation: see [Conn.QueryDerivationOutputNames].
func (p *Pool) QueryDerivationOutputNames(ctx context.Context, drv storepath.Path) ([]string, error) {
	return readLeased(ctx, p, func(c *Conn) ([]string, error) { return c.QueryDerivationOutputNames(ctx, drv) })
}

// QuerySubstitutablePaths returns those of the paths that the substituters have: see [Conn.QuerySubstitutablePaths].
func (p *Pool) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	return readLeased(ctx, p, func(c *Conn) ([]storepath.Path, error) { return c.QuerySubstitutablePaths(ctx, paths) })
}

// QuerySubstitutablePathInfo returns what the substituters say of a path: see [Conn.QuerySubstitutablePathInfo].
func (p *Pool) QuerySubstitutablePathInfo(ctx context.Context, path storepath.Path) (*store.SubstitutableInfo, error) {
	return readLeased(ctx, p, func(c *Conn) (*store.SubstitutableInfo, error) { return c.QuerySubstitutablePathInfo(ctx, path) })
}

// QuerySubstitutablePathInfos returns what the substituters say of paths: see [Conn.QuerySubstitutablePathInfos].
func (p *Pool) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return readLeased(ctx, p, func(c *Conn) ([]store.SubstitutableInfo, error) { return c.QuerySubstitutablePathInfos(ctx, paths) })
}

// QueryMissing says what it would take to make paths valid: see [Conn.QueryMissing].
func (p *Pool) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	return readLeased(ctx, p, func(c *Conn) (*store.Missing, error) { return c.QueryMissing(ctx, paths) })
}

// FindRoots returns what keeps which paths from being collected: see [Conn.FindRoots].
func (p *Pool) FindRoots(ctx context.Context) ([]store.Root, error) {
	return readLeased(ctx, p, func(c *Conn) ([]store.Root, error) { return c.FindRoots(ctx) })
}

// QueryValidPaths returns those of the paths that are valid: see [Conn.QueryValidPaths].
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

// URI returns what names the daemon in errors: see [Transport].
func (p *Pool) URI() string { return p.transport.String() }

// QueryPathInfos returns an iterator over what the daemon knows of paths: see
// [Conn.QueryPathInfos].
func (p *Pool) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return walkPaths(ctx, p.asSource, paths)
}

// QueryClosure returns an iterator over what the daemon knows of the closure of the roots: see
// [store.Closure].
func (p *Pool) QueryClosure(ctx context.Context, roots ...storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return store.Closure(ctx, p, roots...)
}

func (p *Pool) asSource(ctx context.Context) (*Conn, func(), bool, error) {
	c, release, err := p.acquireShared(ctx)
	return c, release, true, err
}

// NARFromPath returns the archive of an object: see [Conn.NARFromPath]. It has a connection
// for itself until it is read to its end or closed.
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
		if !p.again(ctx, err) {
			break
		}
	}
	return nil, err
}

// openArchive leases a connection until the archive has ended.
func (p *Pool) openArchive(ctx context.Context, info *store.PathInfo) (r *archiveReader, err error) {
	l, err := p.lend(ctx)
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
