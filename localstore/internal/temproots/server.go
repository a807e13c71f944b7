package temproots

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"pix/storepath"
)

// A server is the collector's side of the socket. It receives roots from other processes during a collection.
//
// Roots are identified by their hash parts. So a root also protects files whose name is the name of the object with a
// suffix, such as its lock file.
type server struct {
	store    storepath.Dir
	socket   string
	listener *net.UnixListener
	accepted chan struct{} // closed when no more clients are accepted
	serving  sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond                         // a deletion or a connection has ended, or a flag below was set
	roots    map[string]bool                   // hash parts
	arrived  []string                          // roots since choose was last called
	pending  map[string]int                    // deletions that have not ended, by hash part
	conns    map[*net.UnixConn]map[string]bool // the hash parts that were answered to each client
	stopped  bool                              // no new clients are accepted
	draining bool                              // no more roots are answered
	closed   bool
}

// serve starts to listen. The caller has locked gc.lock exclusively, so no other collector listens.
//
// The new socket replaces the old one in one step. If a client of Nix 2.8 finds no socket, it assumes that its root is
// safe. If its connection is refused, it checks again for a collector.
func serve(s State) (*server, error) {
	listener, err := listen(s.socket())
	if err != nil {
		return nil, fmt.Errorf("listening for roots: %w", err)
	}
	srv := &server{
		store:    s.Store,
		socket:   s.socket(),
		listener: listener,
		accepted: make(chan struct{}),
		roots:    make(map[string]bool),
		pending:  make(map[string]int),
		conns:    make(map[*net.UnixConn]map[string]bool),
	}
	srv.changed.L = &srv.mu
	go srv.accept()
	return srv, nil
}

// maxRootConns is how many clients may be connected at once. Further clients wait to be accepted.
const maxRootConns = 1024

// accept accepts clients until the server stops.
func (s *server) accept() {
	defer close(s.accepted)
	for {
		s.mu.Lock()
		for len(s.conns) >= maxRootConns && !s.stopped {
			s.changed.Wait()
		}
		stopped := s.stopped
		s.mu.Unlock()
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if stopped || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(collectorPause) // the process has no file descriptor left, or the server stops
			continue
		}
		s.mu.Lock()
		s.conns[conn] = make(map[string]bool)
		s.serving.Go(func() { s.serve(conn) })
		s.mu.Unlock()
	}
}

// lastAnswers is how long a client may take to read its answers when the collector ends.
const lastAnswers = time.Second

// maxRootLine is a length in bytes that no path has.
const maxRootLine = 8 << 10

// serve answers one client.
func (s *server) serve(conn *net.UnixConn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		s.changed.Broadcast()
	}()
	in := bufio.NewReaderSize(conn, maxRootLine)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		// Nix also answers a line that is not a path.
		if path, err := s.store.Parse(string(line[:len(line)-1])); err == nil {
			if err := s.protect(conn, path.HashPart()); err != nil {
				return
			}
		}
		if _, err := conn.Write([]byte{collectorAck}); err != nil {
			return
		}
	}
}

// protect adds a root. If the path is being deleted, protect waits until it is deleted, so that the client can then add
// the path again.
func (s *server) protect(conn *net.UnixConn, hashPart string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining && !s.roots[hashPart] {
		s.roots[hashPart] = true
		s.arrived = append(s.arrived, hashPart)
	}
	for s.draining || s.pending[hashPart] > 0 {
		if s.closed {
			return io.ErrClosedPipe
		}
		s.changed.Wait()
	}
	s.conns[conn][hashPart] = true
	return nil
}

// drain stops answering roots. Clients that send one wait until the server closes.
func (s *server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// choose is [Collector.Choose].
func (s *server) choose(f func(arrived []string) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := s.arrived
	s.arrived = nil
	for _, hashPart := range f(arrived) {
		s.pending[hashPart]++
	}
}

// done is [Collector.Done].
func (s *server) done(hashParts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashParts {
		if s.pending[h]--; s.pending[h] <= 0 {
			delete(s.pending, h)
		}
	}
	s.changed.Broadcast()
}

// unwritten reports whether a root that was answered to a connected client is missing from written.
func (s *server) unwritten(written map[string]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, answered := range s.conns {
		for h := range answered {
			if !written[h] {
				return true
			}
		}
	}
	return false
}

// stopListening stops accepting clients, after it has accepted all clients that have already connected: the system
// resets the connection of a client that is not accepted, which Nix 2.8 considers an answer.
//
// isOurs says that the store was not replaced since the collection started. Otherwise the socket may belong to another
// collector, and stays.
func (s *server) stopListening(isOurs bool) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	s.mu.Unlock()
	const drain = 5 * time.Millisecond // longer than it takes to connect, for clients that have opened the old socket
	var err error
	if isOurs {
		err = makeDeadSocket(s.socket, true)
	}
	err = errors.Join(err, s.listener.SetDeadline(time.Now().Add(drain)))
	s.changed.Broadcast()
	<-s.accepted
	return errors.Join(err, s.listener.Close())
}

// close disconnects all clients, and waits for the goroutines of the server. Unless the server drains, it first answers
// the roots that have arrived.
func (s *server) close() error {
	err := s.stopListening(true)
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.CloseRead() // received data can still be read
		conn.SetWriteDeadline(time.Now().Add(lastAnswers))
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.serving.Wait()
	return err
}
