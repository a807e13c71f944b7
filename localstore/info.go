package localstore

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"zombiezen.com/go/sqlite"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// One statement asks for all that is known of a path, so that all of it is of one moment.
// There is a row for each reference, or one with null instead of a reference.
const infoQuery = `
	select v.hash, v.registrationTime, v.deriver, v.narSize, v.ultimate, v.sigs, v.ca, r.path
	from ValidPaths v left join Refs on referrer = v.id left join ValidPaths r on r.id = reference
	where v.path = ?`

// QueryPathInfo returns what is known of a path. The error is a [*store.NotFoundError] if it
// is not valid.
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

// QueryPathInfos returns what is known of many paths, in their order. The error is a
// [*store.NotFoundError] if one is not valid.
func (s *Store) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	const piece = 512 // paths that one connection is asked about
	connections := runtime.GOMAXPROCS(0)
	return func(yield func(*store.PathInfo, error) bool) {
		for some := range slices.Chunk(paths, piece*connections) {
			infos := make([]*store.PathInfo, len(some))
			group, ctx := errgroup.WithContext(ctx)
			for begin := 0; begin < len(some); begin += piece {
				end := min(begin+piece, len(some))
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

// pathInfos sets infos to what is known of paths.
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

// pathInfo returns what is known of a path in that store directory.
func (c *conn) pathInfo(dir storepath.Dir, path storepath.Path) (info *store.PathInfo, err error) {
	err = c.query(infoQuery, func(row *sqlite.Stmt) error {
		if info == nil {
			if info, err = readInfo(dir, path, row); err != nil {
				return err
			}
		}
		if row.ColumnIsNull(7) {
			return nil
		}
		reference, err := dir.Parse(row.ColumnText(7))
		info.References = append(info.References, reference)
		return err
	}, string(path))
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, notFound(path)
	}
	slices.Sort(info.References)
	return info, nil
}

// readInfo reads the first row that the infoQuery gives, but for the references.
func readInfo(dir storepath.Dir, path storepath.Path, row *sqlite.Stmt) (*store.PathInfo, error) {
	info := &store.PathInfo{
		Path:     path,
		NARSize:  uint64(row.ColumnInt64(3)),
		Ultimate: row.ColumnInt64(4) == 1,
	}
	var err error
	if info.NARHash, err = nixhash.Parse(row.ColumnText(0)); err != nil {
		return nil, fmt.Errorf("the database has no valid hash of '%s': %w", path, err)
	}
	if seconds := row.ColumnInt64(1); seconds != 0 {
		info.RegistrationTime = time.Unix(seconds, 0).UTC()
	}
	if deriver := row.ColumnText(2); deriver != "" {
		if info.Deriver, err = dir.Parse(deriver); err != nil {
			return nil, fmt.Errorf("the database has no valid deriver of '%s': %w", path, err)
		}
	}
	if sigs := row.ColumnText(5); sigs != "" {
		info.Signatures = strings.Fields(sigs)
		slices.Sort(info.Signatures)
	}
	if ca := row.ColumnText(6); ca != "" {
		if info.CA, err = storepath.ParseContentAddress(ca); err != nil {
			return nil, fmt.Errorf("the database has no valid content address of '%s': %w", path, err)
		}
	}
	return info, nil
}

// IsValidPath reports whether the path is valid.
func (s *Store) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	return s.isValid(ctx, path, database.read)
}

// isValid is IsValidPath, with how to get a connection.
func (s *Store) isValid(ctx context.Context, path storepath.Path, read func(database, context.Context, func(*conn) error) error) (valid bool, err error) {
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

// pathID returns the number that a valid path has in the database.
func (c *conn) pathID(path storepath.Path) (id int64, valid bool, err error) {
	err = c.query("select id from ValidPaths where path = ?", func(row *sqlite.Stmt) error {
		id, valid = row.ColumnInt64(0), true
		return nil
	}, string(path))
	return id, valid, err
}

func notFound(path storepath.Path) error { return &store.NotFoundError{Path: path} }
