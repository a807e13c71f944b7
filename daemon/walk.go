package daemon

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"pix/activity"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// QueryPathInfos returns an iterator over the path infos of paths, in their order. The queries
// are pipelined: many take little more than one round trip.
//
// An error is the last pair: a [*store.NotFoundError] if a path is not valid. The loop may use
// the connection.
func (c *Conn) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return walkPaths(ctx, c.asSource, paths)
}

// QueryClosure returns an iterator over the path infos of the closure of the roots: see
// [store.Closure].
func (c *Conn) QueryClosure(ctx context.Context, roots ...storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return store.Closure(ctx, c, roots...)
}

// A connSource returns a connection for queries. The caller must call release after use. again
// says that after the loss of the connection another one may be available.
type connSource func(ctx context.Context) (c *Conn, release func(), again bool, err error)

func (c *Conn) asSource(context.Context) (*Conn, func(), bool, error) {
	return c, func() {}, false, nil
}

func walkPaths(ctx context.Context, conns connSource, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		w := &walk{todo: slices.Clone(paths)}
		w.run(ctx, conns, yield)
	}
}

// A walk queries many path infos.
type walk struct {
	todo  []storepath.Path // the paths that are not answered yet
	calls []infoCall       // the queries for the first of them
}

// An infoCall is a query for a path info.
type infoCall struct {
	*call
	reply *protocol.QueryPathInfoReply
}

// errLoopEnded means that the caller has left the loop.
var errLoopEnded = errors.New("loop left")

// run yields all path infos. If the connection is lost and another one is available, it repeats
// the unanswered queries there, unless nothing was answered since the last loss.
func (w *walk) run(ctx context.Context, conns connSource, yield func(*store.PathInfo, error) bool) {
	retried := false
	for {
		answered, again, err := w.runOnce(ctx, conns, yield)
		retried = retried && !answered
		if err == nil || err == errLoopEnded {
			return
		}
		if !again || retried || !errors.Is(err, ErrConnLost) || ctx.Err() != nil {
			yield(nil, err)
			return
		}
		retried = true
	}
}

// runOnce gets a connection and queries there.
func (w *walk) runOnce(ctx context.Context, conns connSource, yield func(*store.PathInfo, error) bool) (answered, again bool, err error) {
	c, release, again, err := conns(ctx)
	if err != nil {
		return false, again, err
	}
	defer release()
	answered, err = w.queryOn(ctx, c, yield)
	return answered, again, err
}

// queryOn queries on a connection until all paths are answered.
func (w *walk) queryOn(ctx context.Context, c *Conn, yield func(*store.PathInfo, error) bool) (answered bool, err error) {
	if c.params.Features.Has(protocol.PathInfos) {
		return w.queryInBatches(ctx, c, yield)
	}
	defer w.abandon(c)
	for len(w.todo) > 0 {
		if err := w.sendQueries(ctx, c); err != nil {
			return answered, err
		}
		info, err := w.nextInfo(ctx, c)
		if err != nil {
			return answered, err
		}
		answered = true
		if !yield(info, nil) {
			return answered, errLoopEnded
		}
	}
	return answered, nil
}

// maxBatch is the number of paths in one request. Each reply has a few hundred bytes.
const maxBatch = 1024

// queryInBatches does the same for a daemon that answers many paths in one reply.
func (w *walk) queryInBatches(ctx context.Context, c *Conn, yield func(*store.PathInfo, error) bool) (answered bool, err error) {
	for len(w.todo) > 0 {
		some := w.todo[:min(len(w.todo), maxBatch)]
		reply := new(protocol.QueryPathInfosReply)
		reply.Limit(len(some))
		if err := c.invokeInto(ctx, &protocol.QueryPathInfosRequest{Paths: some}, reply); err != nil {
			return answered, err
		}
		infos := make(map[storepath.Path]*store.PathInfo, len(reply.Infos))
		for i := range reply.Infos {
			infos[reply.Infos[i].Path] = &reply.Infos[i]
		}
		for _, path := range some {
			info, err := completeInfo(path, infos[path])
			if err != nil {
				return answered, err
			}
			answered, w.todo = true, w.todo[1:]
			if !yield(info, nil) {
				return answered, errLoopEnded
			}
		}
	}
	return answered, nil
}

// sendQueries sends as many queries as there are slots, all at once, when half of the previous
// ones are answered. It waits for a slot only if no query is pending.
func (w *walk) sendQueries(ctx context.Context, c *Conn) error {
	if len(w.calls) > c.opts.Window/2 {
		return nil
	}
	var p []byte
	var calls []*call
	var err error
	for _, path := range w.todo[len(w.calls):] {
		reply := new(protocol.QueryPathInfoReply)
		req := &protocol.QueryPathInfoRequest{Path: path}
		longer, k, encodeErr := c.newCall(ctx, p, req, reply, false)
		if encodeErr != nil {
			err = encodeErr
			break // the queries before it can still be answered
		}
		if !c.slots.TryAcquire(1) {
			if len(w.calls) > 0 {
				break
			}
			if err = c.acquireSlots(ctx, k.op, 1); err != nil {
				break
			}
		}
		p = longer
		calls, w.calls = append(calls, k), append(w.calls, infoCall{k, reply})
	}
	if len(w.calls) == 0 {
		return err
	}
	if len(calls) == 0 {
		return nil
	}
	if err := c.enqueue(ctx, p, calls...); err != nil {
		c.slots.Release(int64(len(calls)))
		w.calls = w.calls[:len(w.calls)-len(calls)]
		if len(w.calls) == 0 {
			return &LostError{protocol.QueryPathInfo, err}
		}
	}
	return nil
}

// nextInfo waits for the answer about the first path.
func (w *walk) nextInfo(ctx context.Context, c *Conn) (*store.PathInfo, error) {
	k := w.calls[0]
	if err := c.awaitAnswer(ctx, k.call); err == errCallerGone {
		return nil, cancelled(ctx, k.op)
	} else if err != nil {
		return nil, err
	}
	path := w.todo[0]
	w.todo, w.calls = w.todo[1:], w.calls[1:]
	return completeInfo(path, k.reply.Info)
}

// abandon gives up the pending queries.
func (w *walk) abandon(c *Conn) {
	for _, k := range w.calls {
		k.events.discard()
	}
	if n := len(w.calls); n > 0 {
		c.startDrainTimeout(w.calls[n-1].call)
	}
	w.calls = nil
}

// A daemon answers the queries of a connection on one core. So a large closure of a daemon on
// this machine is queried on several connections, which are cheap there.
const (
	spreadConns = 3   // including the shared one
	spreadFrom  = 128 // queries that are worth more than one connection
	spreadLeast = 32  // queries for each connection
)

// spreads reports whether the pool may open connections only to be faster.
func (p *Pool) spreads() bool {
	_, local := p.transport.(Unix)
	return local
}

// A spread queries many paths on several connections. Other connections than the shared one are
// opened in the background, and used when they are available.
type spread struct {
	pool    *Pool
	ctx     context.Context // for opening connections
	cancel  context.CancelFunc
	dialing sync.WaitGroup
	started bool

	mu     sync.Mutex
	leases []*lease
}

// OpenClosure implements [store.ClosureOpener]. If the daemon is on this machine, it queries
// many paths on up to three connections.
func (p *Pool) OpenClosure(ctx context.Context) (ask store.InfosAsker, end func()) {
	s := &spread{pool: p}
	s.ctx, s.cancel = context.WithCancel(activity.WithHandler(ctx, nil)) // the handler must run only on the caller's goroutine
	return s.queryInfos, s.close
}

// A share is a part of the queries, for one connection.
type share struct {
	walk
	conn *Conn
	at   int // index of the first path that is not answered
}

// queryInfos calls take with the path info of each path. It sends queries on all connections,
// and then handles one answer of each in turn. So all connections continue to answer, and the
// handler in ctx runs on this goroutine.
func (s *spread) queryInfos(ctx context.Context, paths []storepath.Path, take func(int, *store.PathInfo) error) error {
	c, release, err := s.pool.acquireShared(ctx)
	if err != nil {
		return err
	}
	defer release()
	conns := []*Conn{c}
	for _, l := range s.extraConns(len(paths)) {
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
		if err := sh.sendQueries(ctx, sh.conn); err != nil && !s.pool.mayRetry(ctx, err) {
			return err
		}
	}
	for range size {
		for _, sh := range shares {
			if err := s.nextInfo(ctx, sh, take); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextInfo handles the next answer of a share, if there is one. If its connection is lost, the
// rest of the share is queried on another connection of the pool.
func (s *spread) nextInfo(ctx context.Context, sh *share, take func(int, *store.PathInfo) error) error {
	if len(sh.todo) == 0 {
		return nil
	}
	err := sh.walk.sendQueries(ctx, sh.conn)
	var info *store.PathInfo
	if err == nil {
		info, err = sh.walk.nextInfo(ctx, sh.conn)
	}
	if err == nil {
		sh.at++
		return take(sh.at-1, info)
	}
	if !s.pool.mayRetry(ctx, err) {
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

// extraConns returns the additional connections to use for n queries.
func (s *spread) extraConns(n int) []*lease {
	if n < spreadFrom {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leases[:min(len(s.leases), n/spreadLeast-1)])
}

// dial starts to open more connections if n queries are worth it.
func (s *spread) dial(n int) {
	if n < spreadFrom || s.started || !s.pool.spreads() {
		return
	}
	s.started = true
	for range spreadConns - 1 {
		s.dialing.Go(s.dialOne)
	}
}

// dialOne opens a connection, unless the pool has none to spare. Without it the other
// connections answer all queries, so a failure does not matter.
func (s *spread) dialOne() {
	l, err := s.pool.acquireSpareLease(s.ctx)
	if err != nil {
		return
	}
	l.beginCallback() // until it is used
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// close returns all connections to the pool.
func (s *spread) close() {
	s.cancel()
	s.dialing.Wait()
	for _, l := range s.leases {
		l.endCallback()
		l.release()
	}
}
