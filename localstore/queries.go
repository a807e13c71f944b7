package localstore

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/internal/parallel"
	"pix/localstore/internal/nixdb"
	"pix/store"
	"pix/storepath"
)

// QueryPathInfo returns the info of a path. It returns a [*store.NotFoundError] if the path is not valid.
func (s *Store) QueryPathInfo(ctx context.Context, path storepath.Path) (info *store.PathInfo, err error) {
	db, err := s.database(ctx, true)
	if err != nil {
		return nil, err
	}
	info, now := db.CachedInfo(path)
	if info != nil {
		return info, nil
	}
	err = db.read(ctx, func(c *conn) error {
		info, err = c.pathInfo(s.dir, path)
		return err
	})
	if err == nil {
		db.CacheInfo(info, now)
	}
	return info, err
}

// infosPerConnection is the number of infos that a connection reads at a time.
const infosPerConnection = 512

// QueryPathInfos returns the infos of paths, in the order of paths. It returns a [*store.NotFoundError] if one of them
// is not valid.
func (s *Store) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	connections := runtime.GOMAXPROCS(0)
	return func(yield func(*store.PathInfo, error) bool) {
		for some := range slices.Chunk(paths, infosPerConnection*connections) {
			infos := make([]*store.PathInfo, len(some))
			group, ctx := parallel.WithContext(ctx, 0)
			for begin := 0; begin < len(some); begin += infosPerConnection {
				end := min(begin+infosPerConnection, len(some))
				group.Go(func() error {
					return s.read(ctx, func(c *conn) error { return c.pathInfos(s.dir, some[begin:end], infos[begin:end]) })
				})
			}
			if err := group.Wait(); err != nil {
				yield(nil, err)
				return
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// pathInfos sets infos to the infos of paths, as of one moment.
func (c *conn) pathInfos(dir storepath.Dir, paths []storepath.Path, infos []*store.PathInfo) error {
	return c.snapshot(func() (err error) {
		for i, p := range paths {
			if infos[i], err = c.pathInfo(dir, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// IsValidPath reports whether the path is valid.
func (s *Store) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	return s.isValid(ctx, path, (*database).read)
}

// isValid is IsValidPath with a connection from read.
func (s *Store) isValid(ctx context.Context, path storepath.Path, read func(*database, context.Context, func(*conn) error) error) (valid bool, err error) {
	db, err := s.database(ctx, true)
	if err != nil {
		return false, err
	}
	if info, _ := db.CachedInfo(path); info != nil {
		return true, nil
	}
	err = read(db, ctx, func(c *conn) error {
		_, valid, err = c.pathID(path)
		return err
	})
	return valid, err
}

func notFound(path storepath.Path) error { return &store.NotFoundError{Path: path} }

// QueryValidPaths returns the valid ones among paths, sorted and without duplicates. It ignores substitute, because a
// local store has no substituters.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) (valid []storepath.Path, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.snapshot(func() error {
			for _, p := range paths {
				if _, is, err := c.pathID(p); err != nil {
					return err
				} else if is {
					valid = append(valid, p)
				}
			}
			return nil
		})
	})
	slices.Sort(valid)
	return slices.Compact(valid), err
}

// QueryAllValidPaths returns all valid paths, sorted.
func (s *Store) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	return s.queryPaths(ctx, "select path from ValidPaths")
}

// ListValidPaths returns an iterator over the valid paths, sorted. An error is the last pair.
//
// Each query selects a few thousand paths. One long query would keep SQLite from reusing its write-ahead log, which
// would grow as long as the loop runs.
func (s *Store) ListValidPaths(ctx context.Context) iter.Seq2[storepath.Path, error] {
	const atOnce = int64(4096)
	return func(yield func(storepath.Path, error) bool) {
		last := storepath.Path("")
		for {
			paths, err := s.queryPaths(ctx, "select path from ValidPaths where path > ? order by path limit ?", string(last), atOnce)
			if err != nil {
				yield("", err)
				return
			}
			for _, p := range paths {
				if !yield(p, nil) {
					return
				}
			}
			if int64(len(paths)) < atOnce {
				return
			}
			last = paths[len(paths)-1]
		}
	}
}

// QueryReferrers returns the valid paths that refer to path, sorted. They include path itself if it refers to itself.
// An invalid path has no referrers.
func (s *Store) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return s.queryPaths(ctx, nixdb.ReferrersQuery, string(path))
}

// QueryPathFromHashPart returns the valid path with a hash part. It returns a [*store.NotFoundError] if no valid path
// has it.
func (s *Store) QueryPathFromHashPart(ctx context.Context, hashPart string) (path storepath.Path, err error) {
	if len(hashPart) != storepath.HashPartLen {
		return "", fmt.Errorf("%q is not the hash part of a store path: it has %d bytes instead of %d", hashPart, len(hashPart), storepath.HashPartLen)
	}
	prefix := string(s.dir) + "/" + hashPart
	err = s.read(ctx, func(c *conn) error {
		return c.query("select path from ValidPaths where path >= ? order by path limit 1", func(row *sqlite.Stmt) error {
			if text := row.ColumnText(0); strings.HasPrefix(text, prefix) {
				path, err = s.dir.Parse(text)
			}
			return err
		}, prefix)
	})
	if err == nil && path == "" {
		err = new(store.NotFoundError)
	}
	return path, err
}

// QuerySubstitutablePaths returns no paths, because a local store has no substituters.
func (s *Store) QuerySubstitutablePaths(context.Context, []storepath.Path) ([]storepath.Path, error) {
	return nil, nil
}

// QuerySubstitutablePathInfos returns no infos, because a local store has no substituters.
func (s *Store) QuerySubstitutablePathInfos(context.Context, map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return nil, nil
}

// EnsurePath returns an error if the path is not valid. It also makes the path a temporary root.
func (s *Store) EnsurePath(ctx context.Context, path storepath.Path) error {
	if _, err := s.addTempRoots(ctx, path); err != nil {
		return err
	}
	valid, err := s.IsValidPath(ctx, path)
	if err == nil && !valid {
		err = fmt.Errorf("path '%s' does not exist and cannot be created: %w", path, notFound(path))
	}
	return err
}

// QueryMissing returns the derivations that have to be built, and the paths that are not available.
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	return store.MissingWithoutSubstitutes(ctx, s, paths)
}

// queryPaths returns the paths that an SQL query selects, sorted.
func (s *Store) queryPaths(ctx context.Context, query string, args ...any) (paths []storepath.Path, err error) {
	err = s.read(ctx, func(c *conn) error {
		paths, err = c.paths(s.dir, query, args...)
		return err
	})
	return paths, err
}
