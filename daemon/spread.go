package daemon

import (
	"context"
	"iter"
	"slices"
	"sync"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// A daemon answers the queries of one connection on one core. So the queries of a large closure go to
// several connections, if the daemon is on this machine and connections are cheap.
const (
	spreadConns = 3   // connections, with the one for queries
	spreadFrom  = 128 // the smallest number of queries for more than one connection
	spreadLeast = 32  // the smallest number of queries for each connection
)

// spreads reports whether connections to the daemon are cheap enough to use several for one call.
func (p *Pool) spreads() bool {
	_, local := p.transport.(Unix)
	return local
}

// A spread queries many paths on several connections at once. It opens further connections in the
// background, and uses each when it is open.
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

// A share is the part of the queries that goes to one connection.
type share struct {
	walk
	conn  *Conn
	infos []*store.PathInfo // the answers, in the order of the queries
}

// infos returns the path infos of paths, in their order. It sends queries on all connections, and then
// reads one answer of each in turn, so that no connection waits and the handler in ctx runs on this
// goroutine.
func (s *spread) infos(ctx context.Context, paths []storepath.Path) ([]*store.PathInfo, error) {
	c, release, err := s.pool.acquireShared(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	conns := []*Conn{c}
	for _, l := range s.others(len(paths)) {
		l.endCallback()
		defer l.beginCallback()
		conns = append(conns, l.Conn)
	}
	s.dial(ctx, len(paths))

	infos := make([]*store.PathInfo, len(paths))
	size := (len(paths) + len(conns) - 1) / len(conns)
	var shares []*share
	for i, c := range conns {
		from, to := min(i*size, len(paths)), min((i+1)*size, len(paths))
		sh := &share{walk{todo: paths[from:to]}, c, infos[from:to]}
		defer sh.abandon(c)
		shares = append(shares, sh)
	}
	for _, sh := range shares {
		if err := sh.ask(ctx, sh.conn); err != nil && !s.pool.again(ctx, err) {
			return nil, err
		}
	}
	for i := range size {
		for _, sh := range shares {
			if i >= len(sh.infos) {
				continue
			}
			if err := s.next(ctx, sh, i); err != nil {
				return nil, err
			}
		}
	}
	return infos, nil
}

// next reads the i-th answer of a share. If its connection is lost, the pool gets the rest of the share
// on another one.
func (s *spread) next(ctx context.Context, sh *share, i int) error {
	err := sh.ask(ctx, sh.conn)
	if err == nil {
		sh.infos[i], err = sh.take(ctx, sh.conn)
	}
	if !s.pool.again(ctx, err) {
		return err
	}
	for info, err := range walkPaths(ctx, s.pool.asSource, sh.todo) {
		if err != nil {
			return err
		}
		sh.infos[i] = info
		i++
	}
	sh.infos = nil
	return nil
}

// others returns the further connections to use for n queries.
func (s *spread) others(n int) []*lease {
	if n < spreadFrom {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leases[:min(len(s.leases), n/spreadLeast-1)])
}

// dial starts to open more connections if n queries are enough for them.
func (s *spread) dial(ctx context.Context, n int) {
	if n < spreadFrom || s.started {
		return
	}
	s.started = true
	ctx = activity.WithHandler(ctx, nil) // it runs on the caller's goroutine only
	for range spreadConns - 1 {
		s.dialing.Go(func() { s.dialOne(ctx) })
	}
}

// dialOne opens a connection, unless all places of the pool are in use. After a failure the other
// connections answer everything, so the error is dropped.
func (s *spread) dialOne(ctx context.Context) {
	l, err := s.pool.lendSpare(ctx)
	if err != nil {
		return
	}
	l.beginCallback() // until it gets queries
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// end releases all connections.
func (s *spread) end() {
	s.dialing.Wait()
	for _, l := range s.leases {
		l.endCallback()
		l.release()
	}
}
