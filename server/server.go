package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/store"
)

// A Server serves a store to the clients that connect to its listeners. Its fields are set before
// the first call of [Server.Serve], and not changed afterwards. The zero value of all but Store
// is useful.
//
// The server reports to the handler in the context of Serve ([activity.WithHandler]) who
// connects, why a connection was closed, and panics with their stacks. It reports one event at a time.
type Server struct {
	// Store is the store to serve. The server does not close it.
	Store store.Store

	// Access decides which users may connect, and which of them are trusted. If it is nil,
	// every user may connect, and Options.Trusted says whether clients are trusted.
	Access *Access

	// Options are the options of each connection.
	Options *Options

	// MaxClients limits the number of connections. 0 means 4096, or less if the process may not
	// open as many files. A client that exceeds the limit gets an error. An eighth of the
	// connections, and at least one of two or more, is reserved for trusted users.
	MaxClients int

	// MaxClientsPerUser limits the number of connections of an untrusted user. 0 means half of
	// MaxClients. All clients of unknown users count as one user.
	MaxClientsPerUser int

	// MemoryBudget limits the memory, in bytes, that the requests, the replies and the work of
	// all connections use together. 0 means [DefaultMemoryBudget]. The closures that the store
	// follows for them may use twice as much in addition. See "Limits" in the documentation of
	// this package.
	MemoryBudget int64

	mu           sync.Mutex
	memory       *memory
	acceptCtx    context.Context // done when no more clients are accepted
	stop         context.CancelFunc
	conns        map[*conn]struct{}
	served       int                   // number of connections that are not refused
	untrusted    int                   // number of served connections that are not trusted
	users        map[uint32]*userState // untrusted users, by user ID
	drained      chan struct{}         // closed when there are no connections and the server shuts down
	reporting    sync.Mutex
	shuttingDown bool
}

// ErrTooMany is the error of a client that exceeds a limit on the number of connections.
var ErrTooMany = errors.New("the daemon has too many clients; try again later")

// ErrShutdown is the reason for closing connections that do not end in time when the server
// shuts down.
var ErrShutdown = errors.New("the daemon is shutting down")

// Serve serves the clients that connect to the listener until ctx is done or the server shuts down;
// the error is nil then. It closes the listener, and returns when all its connections have ended.
// When ctx is done, it closes them at once; [Server.Shutdown] lets running operations end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	accept := s.start()
	accept, cancel := context.WithCancel(accept)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return Accept(accept, l, func(_ context.Context, nc net.Conn) { s.serve(ctx, nc) })
}

// start initialises the server on its first call. It returns a context that is done when the
// server accepts no more clients.
func (s *Server) start() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acceptCtx == nil {
		s.acceptCtx, s.stop = context.WithCancel(context.Background())
		s.memory, s.conns, s.users = newMemory(s.MemoryBudget), make(map[*conn]struct{}), make(map[uint32]*userState)
		s.drained = make(chan struct{})
	}
	return s.acceptCtx
}

// Shutdown ends the server. It stops accepting clients, closes idle connections, and waits until the
// running operations have ended. When ctx is done, it closes all other connections, and returns the
// cause of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.start()
	s.stop()
	s.mu.Lock()
	s.shuttingDown = true
	for c := range s.conns {
		c.stopWhenIdle()
	}
	s.closeIfDrained()
	s.mu.Unlock()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.abort(ErrShutdown)
	}
	s.mu.Unlock()
	<-s.drained
	return context.Cause(ctx)
}

// closeIfDrained closes s.drained if the server shuts down and has no connections. The server
// must be locked.
func (s *Server) closeIfDrained() {
	if !s.shuttingDown || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.drained:
	default:
		close(s.drained)
	}
}

// unknownUser replaces the user ID of clients whose user is unknown.
const unknownUser = ^uint32(0)

// serve serves one connection. A panic ends the connection, but not the server.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	var peer *Peer
	var err error
	returned := false
	defer func() {
		if !returned {
			err = newPanicError(recover())
		}
		s.reportEnd(ctx, peer, err)
	}()
	peer, _ = PeerOf(nc) // nil after an error: an unknown user
	c := s.newConn(ctx, nc, peer)
	unregister := s.register(c, peer)
	defer unregister()
	defer c.finish(nil) // a second call after run has no effect; it is needed if the goroutine exits before run
	if c.refused == nil && connectorOf(c.store) != nil {
		c.connected = func() { s.reportStart(ctx, peer, c) } // report the trust of the other daemon, too
	} else {
		s.reportStart(ctx, peer, c)
	}
	err = c.run()
	if err == c.refused {
		err = nil
	}
	returned = true
}

// newConn returns a connection whose client Access has checked.
func (s *Server) newConn(ctx context.Context, nc net.Conn, peer *Peer) *conn {
	opts := Options{}
	if s.Options != nil {
		opts = *s.Options
	}
	var refused error
	if s.Access != nil {
		opts.Trusted, refused = s.Access.Check(peer)
	}
	user := owner{uid: unknownUser}
	if peer != nil {
		user.uid = peer.UID
	}
	c := newConn(context.WithValue(ctx, peerKey{}, peer), nc, s.Store, &opts, s.memory, user)
	c.refused = refused
	return c
}

// register counts a connection and returns a function that uncounts it. If there are too many
// connections, the client is refused. If too many clients are being refused already, the
// connection is closed.
func (s *Server) register(c *conn, peer *Peer) (unregister func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.userOf(peer)
	if c.refused == nil && !s.hasCapacity(c, user) {
		c.refused = ErrTooMany
	}
	s.conns[c] = struct{}{}
	served := c.refused == nil
	switch {
	case served:
		s.countConn(c, user, 1)
	case len(s.conns)-s.served > maxRefused:
		c.abort(c.refused)
	}
	if s.shuttingDown {
		c.stopWhenIdle()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if served {
			s.countConn(c, user, -1)
		}
		s.closeIfDrained()
	}
}

// maxRefused limits the number of clients that are being sent the error that refuses them.
const maxRefused = 64

// userOf returns the state of an untrusted user. The server must be locked.
func (s *Server) userOf(peer *Peer) *userState {
	uid := unknownUser
	if peer != nil {
		uid = peer.UID
	}
	if user := s.users[uid]; user != nil {
		return user
	}
	return &userState{uid: uid}
}

// hasCapacity reports whether another connection may be served. The server must be locked.
func (s *Server) hasCapacity(c *conn, user *userState) bool {
	most, untrusted, perUser := s.connLimits()
	return s.served < most && (c.trusted || s.untrusted < untrusted && user.conns < perUser)
}

// countConn adds n to the number of served connections. The server must be locked.
func (s *Server) countConn(c *conn, user *userState, n int) {
	s.served += n
	if c.trusted {
		return
	}
	s.untrusted += n
	user.conns += n
	c.user, s.users[user.uid] = user, user
	if user.conns == 0 {
		delete(s.users, user.uid)
	}
}

// connLimits returns the limits on connections: in total, for all untrusted users together, and
// for one untrusted user.
func (s *Server) connLimits() (most, untrusted, perUser int) {
	most, perUser = s.MaxClients, s.MaxClientsPerUser
	if most <= 0 {
		most = defaultClients()
	}
	untrusted = most
	if most > 1 {
		untrusted -= (most + 7) / 8
	}
	if perUser <= 0 {
		perUser = max(most/2, 1)
	}
	return most, untrusted, perUser
}

// defaultClients returns the default of MaxClients. It leaves half of the process's file
// descriptors to the store.
func defaultClients() int {
	const most = 4096
	if files := maxFiles(); files > 0 {
		return int(min(most, max(files/2, 1)))
	}
	return most
}

// reportStart reports that a client has connected.
func (s *Server) reportStart(ctx context.Context, peer *Peer, c *conn) {
	switch {
	case c.refused != nil:
		s.report(ctx, "refused a connection from %s: %v", peer, c.refused)
	case c.privileged:
		s.report(ctx, "accepted connection from %s (trusted)", peer)
	default:
		s.report(ctx, "accepted connection from %s", peer)
	}
}

// reportEnd reports why a connection was closed, unless the client has hung up.
func (s *Server) reportEnd(ctx context.Context, peer *Peer, err error) {
	var panicked *PanicError
	switch {
	case errors.As(err, &panicked):
		s.report(ctx, "closed a connection from %s: %v\n%s", peer, err, panicked.Stack)
	case err != nil && err != errStopping && ctx.Err() == nil:
		s.report(ctx, "closed a connection from %s: %v", peer, err)
	}
}

// report reports an event to the handler in ctx. It ignores a panic of the handler: there is no
// other place to report it to.
func (s *Server) report(ctx context.Context, format string, args ...any) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return
	}
	defer func() { _ = recover() }()
	s.reporting.Lock()
	defer s.reporting.Unlock()
	h.HandleEvent(activity.Log{Text: fmt.Sprintf(format, args...)})
}

// A userState counts the resources of all connections of an untrusted user.
type userState struct {
	uid   uint32
	conns int          // guarded by the server
	roots atomic.Int64 // temporary roots of all connections
}

// maxTempRoots limits the number of temporary roots of an untrusted user. Each uses about 150
// bytes of memory and 100 on disk until its connection ends.
const maxTempRoots = 1 << 19

// countTempRoots counts n more temporary roots of the user. It returns an error if they exceed
// the limit.
func (c *conn) countTempRoots(n int) error {
	if c.trusted {
		return nil
	}
	if c.user.roots.Add(int64(n)) > maxTempRoots {
		c.user.roots.Add(-int64(n))
		return fmt.Errorf("you already have %d temporary roots, the limit for users who are not trusted", maxTempRoots)
	}
	c.roots += int64(n)
	return nil
}

// Accept accepts connections and calls serve on a new goroutine for each. It returns nil when
// ctx is done or the listener is closed, after it has closed the listener and all calls of
// serve have returned. [Serve] returns soon after the context of serve is done. If the process
// has no file descriptors left, Accept waits and tries again.
func Accept(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			conns.Go(func() { serve(ctx, nc) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case isTemporary(err):
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		default:
			return err
		}
	}
}

// isTemporary reports whether a later Accept may succeed.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
