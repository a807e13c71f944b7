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

// A Server serves a store to whoever connects to its listeners. Its fields are set before
// the first call of [Server.Serve], and not changed any more. The zero value of all but Store
// is useful.
//
// What happens to connections, who connects and why one was given up, is told to the handler
// in the context of Serve ([activity.WithHandler]), one event at a time.
type Server struct {
	// Store is what is served. The server does not close it.
	Store store.Store

	// Access says who may connect and who is trusted. Nil lets everybody connect, and
	// Options says whom to trust.
	Access *Access

	// Options are those of each connection.
	Options *Options

	// MaxClients is how many clients there may be at once; 0 is 4096. Who is one too many
	// is told so.
	MaxClients int

	// MaxClientsPerUser is how many connections a user may have who is not trusted; 0 is
	// half of MaxClients. Those of whom nothing is known count as one.
	MaxClientsPerUser int

	mu       sync.Mutex
	shared   *shared
	accept   context.Context // done when no more clients are accepted
	stop     context.CancelFunc
	conns    map[*conn]struct{}
	served   int                // how many of them are not refused
	users    map[uint32]*client // those who are not trusted
	empty    chan struct{}      // closed when there are no connections and the server shuts down
	telling  sync.Mutex
	shutting bool
}

// ErrTooMany says that a client is one too many.
var ErrTooMany = errors.New("the daemon has too many clients; try again later")

// ErrShutdown is why connections are cut that do not end in time when the server shuts down.
var ErrShutdown = errors.New("the daemon is shutting down")

// Serve serves all who connect to the listener, until ctx is done or the server shuts down;
// both are no error. It closes the listener, and returns when all its connections have ended:
// at once when ctx is done, in their time when the server shuts down.
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
		s.shared, s.conns, s.users = newShared(), make(map[*conn]struct{}), make(map[uint32]*client)
		s.empty = make(chan struct{})
	}
	return s.accept
}

// Shutdown ends the server: no more clients are accepted, those that wait for nothing are
// let go, and what is under way is awaited. When ctx is done, what is left is cut, and the
// error is that of ctx.
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

// checkEmpty notes when all have gone. The server must be locked.
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

// serve serves a connection.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	peer, _ := PeerOf(nc) // without an answer nothing is known of it
	opts := Options{}
	if s.Options != nil {
		opts = *s.Options
	}
	var refused error
	if s.Access != nil {
		opts.Trusted, refused = s.Access.Check(peer)
	}
	c := newConn(ctx, nc, s.Store, &opts, s.shared)
	c.refused = refused
	leave, ok := s.enter(c, peer)
	if !ok {
		c.fail(ErrTooMany)
	}
	defer leave()
	switch {
	case c.refused != nil:
		s.tell(ctx, "refused a connection from %s: %v", peer, c.refused)
	case c.trusted:
		s.tell(ctx, "accepted connection from %s (trusted)", peer)
	default:
		s.tell(ctx, "accepted connection from %s", peer)
	}
	if err := c.run(); err != nil && err != c.refused && err != errDraining && ctx.Err() == nil {
		s.tell(ctx, "gave up a connection from %s: %v", peer, err)
	}
}

// enter counts a connection in, and returns what counts it out. One that is too many is
// refused; where there are too many even of those, it is not ok.
func (s *Server) enter(c *conn, peer *Peer) (leave func(), ok bool) {
	const unknown = ^uint32(0) // is no user's number
	user := unknown
	if peer != nil {
		user = peer.UID
	}
	most, each := s.limits()

	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.users[user]
	if who == nil {
		who = new(client)
	}
	if c.refused == nil && (s.served >= most || !c.trusted && who.conns >= each) {
		c.refused = ErrTooMany
	}
	served := c.refused == nil
	s.conns[c] = struct{}{}
	if served {
		s.served++
		if !c.trusted {
			s.users[user], c.client = who, who
			who.conns++
		}
	}
	if s.shutting {
		c.drain()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if served {
			s.served--
			if !c.trusted {
				if who.conns--; who.conns == 0 {
					delete(s.users, user)
				}
			}
		}
		s.checkEmpty()
	}, len(s.conns)-s.served <= most
}

// limits returns how many clients there may be, and how many of one user.
func (s *Server) limits() (most, each int) {
	most, each = s.MaxClients, s.MaxClientsPerUser
	if most <= 0 {
		most = 4096
	}
	if each <= 0 {
		each = max(most/2, 1)
	}
	return most, each
}

// tell tells the handler in ctx what happens.
func (s *Server) tell(ctx context.Context, format string, args ...any) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	h.HandleEvent(activity.Log{Text: fmt.Sprintf(format, args...)})
}
