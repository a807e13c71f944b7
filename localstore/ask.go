package localstore

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"pix/storepath"
)

// QueryValidPaths returns those of the paths that are valid, sorted, each once. There is
// nothing to substitute from.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) (valid []storepath.Path, err error) {
	err = s.read(ctx, func(c *conn) error {
		for _, p := range paths {
			if _, is, err := c.pathID(p); err != nil {
				return err
			} else if is {
				valid = append(valid, p)
			}
		}
		return nil
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
	return s.queryPaths(ctx, referrersQuery, string(path))
}

const referrersQuery = `
	select path from Refs join ValidPaths on referrer = id
	where reference = (select id from ValidPaths where path = ?)`

// queryPaths returns the paths that a query gives, sorted.
func (s *Store) queryPaths(ctx context.Context, query string, args ...any) (paths []storepath.Path, err error) {
	err = s.read(ctx, func(c *conn) error {
		paths, err = c.paths(s.dir, query, args...)
		return err
	})
	return paths, err
}

// paths returns the paths that a query gives, sorted.
func (c *conn) paths(dir storepath.Dir, query string, args ...any) (paths []storepath.Path, err error) {
	err = c.query(query, func(row *sqlite.Stmt) error {
		path, err := dir.Parse(row.ColumnText(0))
		paths = append(paths, path)
		return err
	}, args...)
	slices.Sort(paths)
	return paths, err
}
