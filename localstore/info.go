package localstore

import (
	"context"
	"iter"
	"runtime"
	"slices"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

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
			group, ctx := parallel.WithContext(ctx, 0)
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

// IsValidPath reports whether the path is valid.
func (s *Store) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	return s.isValid(ctx, path, (*database).read)
}

// isValid is IsValidPath, with how to get a connection.
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
