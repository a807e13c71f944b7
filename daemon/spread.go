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

// A share is a part of the questions, which one connection is asked.
type share struct {
	walk
	conn  *Conn
	infos []*store.PathInfo // the answers, in the order of the questions
}

// infos returns what the daemon knows of paths, in their order. It asks all connections, and
// then takes one answer of each in turn, so that all of them go on answering and the handler in
// ctx runs on this goroutine.
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

// next takes the i-th answer of a share. If its connection is lost, the pool finds another for
// the rest of the share.
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

// others returns connections for some of n questions.
func (s *spread) others(n int) []*lease {
	if n < spreadFrom {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leases[:min(len(s.leases), n/spreadLeast-1)])
}

// dial starts making more connections if n questions are worth it.
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

// dialOne makes a connection, unless the pool has none to spare. Without it the others answer
// all, so the reason for a failure does not matter.
func (s *spread) dialOne(ctx context.Context) {
	l, err := s.pool.lendSpare(ctx)
	if err != nil {
		return
	}
	l.beginCallback() // until it is asked
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// end gives all connections back.
func (s *spread) end() {
	s.dialing.Wait()
	for _, l := range s.leases {
		l.endCallback()
		l.release()
	}
}
