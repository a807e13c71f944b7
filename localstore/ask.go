package localstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/localstore/internal/nixdb"
	"pix/store"
	"pix/storepath"
)

// QueryValidPaths returns those of the paths that are valid, sorted, each once. There is
// nothing to substitute from.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) (valid []storepath.Path, err error) {
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

// QueryReferrers returns the valid paths that refer to path, sorted, itself among them if it
// does. There are none of a path that is not valid.
func (s *Store) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return s.queryPaths(ctx, nixdb.ReferrersQuery, string(path))
}

// QueryPathFromHashPart returns the valid path with that hash part. The error is a
// [*store.NotFoundError] if there is none.
func (s *Store) QueryPathFromHashPart(ctx context.Context, hashPart string) (path storepath.Path, err error) {
	if len(hashPart) != storepath.HashPartLen {
		return "", fmt.Errorf("%q is no hash part of a store path: it has %d bytes instead of %d", hashPart, len(hashPart), storepath.HashPartLen)
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

// QuerySubstitutablePaths returns none: there is nothing to substitute from.
func (s *Store) QuerySubstitutablePaths(context.Context, []storepath.Path) ([]storepath.Path, error) {
	return nil, nil
}

// QuerySubstitutablePathInfos returns none: there is nothing to substitute from.
func (s *Store) QuerySubstitutablePathInfos(context.Context, map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return nil, nil
}

// EnsurePath fails if the path is not valid: it cannot be had from elsewhere.
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

// QueryMissing says which derivations would have to be built, and which paths cannot be had.
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	return store.MissingWithoutSubstitutes(ctx, s, paths)
}

// queryPaths returns the paths that a query gives, sorted.
func (s *Store) queryPaths(ctx context.Context, query string, args ...any) (paths []storepath.Path, err error) {
	err = s.read(ctx, func(c *conn) error {
		paths, err = c.paths(s.dir, query, args...)
		return err
	})
	return paths, err
}
