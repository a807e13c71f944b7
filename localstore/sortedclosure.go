package localstore

import (
	"context"
	"iter"
	"runtime"

	"pix/internal/parallel"
	"pix/localstore/internal/nixdb"
	"pix/store"
	"pix/storepath"
)

var _ store.SortedClosureQuerier = (*Store)(nil)

// QuerySortedClosure returns the paths of the closure of roots, sorted, as of one moment, and an iterator over their infos
// in this order. The iterator uses the paths, so the caller must not change them. The info of a path that has been deleted
// meanwhile is nil. It returns a [*store.NotFoundError] if a root is not valid, and a [*store.LimitError] if the closure
// exceeds the limits of paths or references.
func (s *Store) QuerySortedClosure(ctx context.Context, roots []storepath.Path, limits store.Limits) ([]storepath.Path, iter.Seq2[*store.PathInfo, error], error) {
	db, err := s.database(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	q := &sortedClosure{s: s, db: db}
	err = db.read(ctx, func(c *conn) (err error) {
		q.closure, err = (*nixdb.Conn)(c).Closure(s.dir, roots, limits)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	paths := q.closure.Paths()
	return paths, func(yield func(*store.PathInfo, error) bool) {
		atOnce := infosPerConnection * runtime.GOMAXPROCS(0)
		for first := 0; first < len(paths); first += atOnce {
			infos, err := q.infos(ctx, first, min(first+atOnce, len(paths)))
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
	}, nil
}

// A sortedClosure is the result of QuerySortedClosure.
type sortedClosure struct {
	s       *Store
	db      *database // from which the closure was read
	closure *nixdb.Closure
}

// infos returns the infos with the sorted indexes from first to before end. It uses several connections, and none
// while the caller's code runs, because that code may use the store.
func (q *sortedClosure) infos(ctx context.Context, first, end int) ([]*store.PathInfo, error) {
	db, err := q.s.database(ctx, true)
	if err != nil {
		return nil, err
	}
	infos := make([]*store.PathInfo, end-first)
	group, ctx := parallel.WithContext(ctx, 0)
	for i := first; i < end; i += infosPerConnection {
		group.Go(func() error {
			to := min(i+infosPerConnection, end)
			some := infos[i-first : to-first]
			return db.read(ctx, func(c *conn) error {
				// A store that was deleted and created again gives the ids to other paths.
				if db == q.db {
					byID, err := (*nixdb.Conn)(c).ClosureInfos(q.closure, i, to)
					if err != nil {
						return err
					}
					copy(some, byID)
				}
				return (*nixdb.Conn)(c).AddInfos(q.s.dir, q.closure.Paths()[i:to], some)
			})
		})
	}
	return infos, group.Wait()
}
