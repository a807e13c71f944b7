package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"pix/activity"
	"pix/store"
)

// A Server serves a store to the clients that connect to its listeners. Its fields are set before
// the first call of [Server.Serve], and not changed afterwards. The zero value of all but Store
// is useful.
//
// The server reports to the handler in the context of Serve ([activity.WithHandler]) who
// connects, why a connection was closed, and panics with their stacks: one event at a time.
type Server struct {
	// Store is the store to serve. The server does not close it.
	Store store.Store

	// Access says who may connect and who is trusted. Nil lets everybody connect, and
	// Options says whom to trust.
	Access *Access

	// Options are those of each connection.
	Options *Options

	// MaxClients is how many clients there may be at once; 0 is 4096, or less if the process may
	// not open as many files. A client that exceeds it gets an error. An eighth, and at least
	// one of two or more, is reserved for trusted users.
	MaxClients int

	// MaxClientsPerUser is how many connections an untrusted user may have; 0 is half of
	// MaxClients. All clients of unknown users count as one user.
	MaxClientsPerUser int

	// MemoryBudget is how many bytes of memory the requests, the replies and the work of all
	// connections together may take; 0 is [DefaultMemoryBudget]. Closures that the store follows
	// for them may take twice as much in addition. See "Limits" in the documentation of this package.
	MemoryBudget int64

	mu        sync.Mutex
	memory    *memory
	accept    context.Context // done when no more clients are accepted
	stop      context.CancelFunc
	conns     map[*conn]struct{}
	served    int                // conns that are not refused
	untrusted int                // conns that are served and not trusted
	users     map[uint32]*client // untrusted ones
	empty     chan struct{}      // closed when there are no connections and the server shuts down
	reporting sync.Mutex
	shutting  bool
}

// ErrTooMany says that there are too many clients already.
var ErrTooMany = errors.New("the daemon has too many clients; try again later")

// ErrShutdown is why connections are cut that do not end in time when the server shuts down.
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

// start makes the server ready, once, and returns the context in which it accepts clients.
func (s *Server) start() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accept == nil {
		s.accept, s.stop = context.WithCancel(context.Background())
		s.memory, s.conns, s.users = newMemory(s.MemoryBudget), make(map[*conn]struct{}), make(map[uint32]*client)
		s.empty = make(chan struct{})
	}
	return s.accept
}

// Shutdown ends the server. It stops accepting clients, closes idle connections, and waits until the
// running operations have ended. When ctx is done, it closes all other connections, and returns the
// cause of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.start()
	s.stop()
	s.mu.Lock()
	s.shutting = true
	for c := range s.conns {
		c.drain()
	}
	s.checkEmpty()
	s.mu.Unlock()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.fail(ErrShutdown)
	}
	s.mu.Unlock()
	<-s.empty
	return context.Cause(ctx)
}

// checkEmpty closes empty if the server shuts down and has no connections. The server must be locked.
func (s *Server) checkEmpty() {
	if !s.shutting || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// unknownUser stands for the user ID of clients whose user ID is not known.
const unknownUser = ^uint32(0)

// serve serves a connection. A panic ends the connection, and not the server.
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
	peer, _ = PeerOf(nc) // nil after an error: the user is unknown
	c := s.newConn(ctx, nc, peer)
	unregister := s.register(c, peer)
	defer unregister()
	defer c.finish(nil) // run has done it, unless the goroutine exits before run
	if c.refused == nil && connectorOf(c.store) != nil {
		c.joined = func() { s.reportStart(ctx, peer, c) } // the daemon behind may not trust us
	} else {
		s.reportStart(ctx, peer, c)
	}
	err = c.run()
	if err == c.refused {
		err = nil
	}
	returned = true
}

// newConn returns a connection for a client, after Access has checked it.
func (s *Server) newConn(ctx context.Context, nc net.Conn, peer *Peer) *conn {
	opts := Options{}
	if s.Options != nil {
		opts = *s.Options
	}
	var refused error
	if s.Access != nil {
		opts.Trusted, refused = s.Access.Check(peer)
	}
	who := owner{uid: unknownUser}
	if peer != nil {
		who.uid = peer.UID
	}
	c := newConn(ctx, nc, s.Store, &opts, s.memory, who)
	c.refused = refused
	return c
}

// register counts a connection, and returns a function that stops counting it. If there are too many
// connections, the client is refused. If too many clients are being refused already, the
// connection is closed.
func (s *Server) register(c *conn, peer *Peer) (unregister func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.clientOf(peer)
	if c.refused == nil && !s.hasPlace(c, who) {
		c.refused = ErrTooMany
	}
	s.conns[c] = struct{}{}
	served := c.refused == nil
	switch {
	case served:
		s.count(c, who, 1)
	case len(s.conns)-s.served > maxRefused:
		c.fail(c.refused)
	}
	if s.shutting {
		c.drain()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if served {
			s.count(c, who, -1)
		}
		s.checkEmpty()
	}
}

// maxRefused is how many clients at once may receive the error that refuses them.
const maxRefused = 64

// clientOf returns the state that the connections of an untrusted user share. The server must be
// locked.
func (s *Server) clientOf(peer *Peer) *client {
	uid := unknownUser
	if peer != nil {
		uid = peer.UID
	}
	if who := s.users[uid]; who != nil {
		return who
	}
	return &client{uid: uid}
}

// hasPlace reports whether one connection more may be served. The server must be locked.
func (s *Server) hasPlace(c *conn, who *client) bool {
	most, untrusted, each := s.limits()
	return s.served < most && (c.trusted || s.untrusted < untrusted && who.conns < each)
}

// count adds n to the number of connections that are served. The server must be locked.
func (s *Server) count(c *conn, who *client, n int) {
	s.served += n
	if c.trusted {
		return
	}
	s.untrusted += n
	who.conns += n
	c.client, s.users[who.uid] = who, who
	if who.conns == 0 {
		delete(s.users, who.uid)
	}
}

// limits returns how many connections there may be: in total, of all untrusted users together, and
// of one untrusted user.
func (s *Server) limits() (most, untrusted, each int) {
	most, each = s.MaxClients, s.MaxClientsPerUser
	if most <= 0 {
		most = defaultClients()
	}
	untrusted = most
	if most > 1 {
		untrusted -= (most + 7) / 8
	}
	if each <= 0 {
		each = max(most/2, 1)
	}
	return most, untrusted, each
}

// defaultClients returns the default of MaxClients. It leaves half of the files that the process may
// open to the store.
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

// reportEnd reports why a connection was closed, unless that is usual.
func (s *Server) reportEnd(ctx context.Context, peer *Peer, err error) {
	var panicked *PanicError
	switch {
	case errors.As(err, &panicked):
		s.report(ctx, "closed a connection from %s: %v\n%s", peer, err, panicked.Stack)
	case err != nil && err != errDraining && ctx.Err() == nil:
		s.report(ctx, "closed a connection from %s: %v", peer, err)
	}
}

// report reports an event to the handler in ctx. It drops a panic of the handler, because there is no
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
