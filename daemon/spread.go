package daemon

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"pix/store"
	"pix/storepath"
)

// A daemon answers the questions of one connection on one core. So a large closure is asked
// for on several connections, where these cost next to nothing: to a daemon on this machine.
const (
	spreadConns = 3   // the one for queries among them
	spreadFrom  = 128 // questions that are worth more than one connection
	spreadLeast = 32  // questions for each
)

// spreads reports whether the pool may make connections only to be faster.
func (p *Pool) spreads() bool {
	_, local := p.transport.(Unix)
	return local
}

// A spread asks about many paths on several connections at once. Those that it needs besides
// the one for queries are made in the background, and used when they are there.
type spread struct {
	pool    *Pool
	dialing sync.WaitGroup
	started bool

	mu     sync.Mutex
	leases []*lease
}

// queryClosure is [Pool.QueryClosure] on several connections.
func (p *Pool) queryClosure(ctx context.Context, roots []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		s := &spread{pool: p}
		defer s.end()
		defer cancel()
		w := &walk{seen: make(map[storepath.Path]bool)}
		w.follow(roots)
		for len(w.next) > 0 {
			slices.Sort(w.next)
			infos, err := s.infos(ctx, w.next)
			if err != nil {
				yield(nil, err)
				return
			}
			w.next = nil
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
				w.follow(info.References)
			}
		}
	}
}

// infos returns what the daemon knows of paths, in their order.
func (s *spread) infos(ctx context.Context, paths []storepath.Path) ([]*store.PathInfo, error) {
	infos := make([]*store.PathInfo, len(paths))
	others := s.others(ctx, len(paths))
	share := (len(paths) + len(others)) / (1 + len(others))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range others {
		from, to := (i+1)*share, min((i+2)*share, len(paths))
		group.Go(func() error {
			err := collect(infos[from:to], walkPaths(ctx, l.asSource, paths[from:to]))
			if errors.Is(err, ErrConnLost) {
				err = collect(infos[from:to], walkPaths(ctx, s.pool.asSource, paths[from:to]))
			}
			return err
		})
	}
	group.Go(func() error { return collect(infos[:share], walkPaths(ctx, s.pool.asSource, paths[:share])) })
	return infos, group.Wait()
}

func collect(into []*store.PathInfo, infos iter.Seq2[*store.PathInfo, error]) error {
	i := 0
	for info, err := range infos {
		if err != nil {
			return err
		}
		into[i] = info
		i++
	}
	return nil
}

// others returns connections for some of n questions, and starts making them if they are
// worth it.
func (s *spread) others(ctx context.Context, n int) []*lease {
	if n < spreadFrom {
		return nil
	}
	if !s.started {
		s.started = true
		for range spreadConns - 1 {
			s.dialing.Go(func() { s.dial(ctx) })
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leases[:min(len(s.leases), n/spreadLeast-1)])
}

// dial makes a connection, unless the pool has none to spare. It matters to nobody why there
// is none.
func (s *spread) dial(ctx context.Context) {
	l, err := s.pool.lendSpare(ctx)
	if err != nil || l == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// end gives all connections back.
func (s *spread) end() {
	s.dialing.Wait()
	for _, l := range s.leases {
		l.release()
	}
}
