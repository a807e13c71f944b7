package localstore

import (
	"context"
	"iter"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/nixdb"
	"pix/store"
)

// CountValidPaths returns the number of valid paths.
func (s *Store) CountValidPaths(ctx context.Context) (n int, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("select count(*) from ValidPaths", func(row *sqlite.Stmt) error {
			n = row.ColumnInt(0)
			return nil
		})
	})
	return n, err
}

// QueryAllPathInfos returns the infos of all valid paths, in the order in which the paths were registered first. It
// reads the database from its beginning to its end, instead of searching for each path. Paths that are added or deleted
// meanwhile may be missing.
func (s *Store) QueryAllPathInfos(ctx context.Context) iter.Seq2[*store.PathInfo, error] {
	// A connection is not held while the caller's code runs, because that code may use the store.
	const atOnce = 1024 // infos
	return func(yield func(*store.PathInfo, error) bool) {
		var table *nixdb.PathTable
		db, err := s.database(ctx, true)
		if err == nil {
			err = db.read(ctx, func(c *conn) (err error) {
				table, err = (*nixdb.Conn)(c).PathTable(s.dir)
				return err
			})
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for first := 0; first < table.Len(); first += atOnce {
			var infos []*store.PathInfo
			now, err := s.database(ctx, true)
			if err == nil && now != db {
				return // the store was deleted, and a new one gives the ids to other paths
			}
			if err != nil {
				yield(nil, err)
				return
			}
			err = db.read(ctx, func(c *conn) (err error) {
				infos, err = (*nixdb.Conn)(c).Infos(table, first, min(first+atOnce, table.Len()))
				return err
			})
			if err != nil {
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
