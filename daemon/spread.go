package daemon

import (
	"context"
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
	ctx     context.Context // of making connections
	cancel  context.CancelFunc
	dialing sync.WaitGroup
	started bool

	mu     sync.Mutex
	leases []*lease
}

// OpenClosure implements [store.ClosureOpener]. Of a daemon on this machine, many paths are asked about
// on up to three connections at once.
func (p *Pool) OpenClosure(ctx context.Context) (ask store.InfosAsker, end func()) {
	s := &spread{pool: p}
	s.ctx, s.cancel = context.WithCancel(activity.WithHandler(ctx, nil)) // that runs on the caller's goroutine only
	return s.infos, s.end
}

// A share is a part of the questions, which one connection is asked.
type share struct {
	walk
	conn *Conn
	at   int // the number of the first that is not answered
}

// infos tells what the daemon knows of paths. It asks all connections, and then takes one answer of
// each in turn, so that all of them go on answering and the handler in ctx runs on this goroutine.
func (s *spread) infos(ctx context.Context, paths []storepath.Path, take func(int, *store.PathInfo) error) error {
	c, release, err := s.pool.acquireShared(ctx)
	if err != nil {
		return err
	}
	defer release()
	conns := []*Conn{c}
	for _, l := range s.others(len(paths)) {
		l.endCallback()
		defer l.beginCallback()
		conns = append(conns, l.Conn)
	}
	s.dial(len(paths))

	size := (len(paths) + len(conns) - 1) / len(conns)
	var shares []*share
	for i, c := range conns {
		from, to := min(i*size, len(paths)), min((i+1)*size, len(paths))
		sh := &share{walk{todo: paths[from:to]}, c, from}
		defer sh.abandon(c)
		shares = append(shares, sh)
	}
	for _, sh := range shares {
		if err := sh.ask(ctx, sh.conn); err != nil && !s.pool.again(ctx, err) {
			return err
		}
	}
	for range size {
		for _, sh := range shares {
			if err := s.next(ctx, sh, take); err != nil {
				return err
			}
		}
	}
	return nil
}

// next takes the next answer of a share, if there is one. If its connection is lost, the pool finds
// another for the rest of the share.
func (s *spread) next(ctx context.Context, sh *share, take func(int, *store.PathInfo) error) error {
	if len(sh.todo) == 0 {
		return nil
	}
	err := sh.walk.ask(ctx, sh.conn)
	var info *store.PathInfo
	if err == nil {
		info, err = sh.walk.take(ctx, sh.conn)
	}
	if err == nil {
		sh.at++
		return take(sh.at-1, info)
	}
	if !s.pool.again(ctx, err) {
		return err
	}
	todo := sh.todo
	sh.todo = nil
	for info, err := range walkPaths(ctx, s.pool.asSource, todo) {
		if err == nil {
			sh.at++
			err = take(sh.at-1, info)
		}
		if err != nil {
			return err
		}
	}
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
func (s *spread) dial(n int) {
	if n < spreadFrom || s.started || !s.pool.spreads() {
		return
	}
	s.started = true
	for range spreadConns - 1 {
		s.dialing.Go(s.dialOne)
	}
}

// dialOne makes a connection, unless the pool has none to spare. Without it the others answer
// all, so the reason for a failure does not matter.
func (s *spread) dialOne() {
	l, err := s.pool.lendSpare(s.ctx)
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
	s.cancel()
	s.dialing.Wait()
	for _, l := range s.leases {
		l.endCallback()
		l.release()
	}
}
