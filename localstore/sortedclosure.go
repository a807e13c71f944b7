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
// in this order. The info of a path that has been deleted meanwhile is nil. It returns a [*store.NotFoundError] if a root
// is not valid, and a [*store.LimitError] if the closure exceeds the limits of paths or references.
func (s *Store) QuerySortedClosure(ctx context.Context, roots []storepath.Path, limits store.Limits) ([]storepath.Path, iter.Seq2[*store.PathInfo, error], error) {
	var closure *nixdb.Closure
	err := s.read(ctx, func(c *conn) (err error) {
		closure, err = (*nixdb.Conn)(c).Closure(s.dir, roots, limits)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	paths := closure.Paths()
	return paths, func(yield func(*store.PathInfo, error) bool) {
		atOnce := infosPerConnection * runtime.GOMAXPROCS(0)
		for first := 0; first < len(paths); first += atOnce {
			infos, err := s.closureInfos(ctx, closure, first, min(first+atOnce, len(paths)))
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

// closureInfos returns the infos with the sorted indexes from first to before end. It uses several connections, and none
// while the caller's code runs, because that code may use the store.
func (s *Store) closureInfos(ctx context.Context, closure *nixdb.Closure, first, end int) ([]*store.PathInfo, error) {
	infos := make([]*store.PathInfo, end-first)
	group, ctx := parallel.WithContext(ctx, 0)
	for i := first; i < end; i += infosPerConnection {
		group.Go(func() error {
			return s.read(ctx, func(c *conn) error {
				some, err := (*nixdb.Conn)(c).ClosureInfos(closure, i, min(i+infosPerConnection, end))
				copy(infos[i-first:], some)
				return err
			})
		})
	}
	return infos, group.Wait()
}
