package localstore

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

// A rootsServer is the collector's side of gc-socket/socket: it takes roots from other
// processes while garbage is collected.
//
// Roots are known by their hash parts, so that what lies beside an object with something
// appended to its name, such as a lock file, lives as long.
type rootsServer struct {
	dir      storepath.Dir
	socket   string
	listener *net.UnixListener
	accepted chan struct{} // closed when no more clients are accepted
	serving  sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond                         // deleting became less, or closed is true
	roots   map[string]bool                   // hash parts
	arrived []string                          // those that came since take was last called
	deleted map[string]int                    // how much is being deleted just now, by hash part
	conns   map[*net.UnixConn]map[string]bool // the hash parts that each has told of
	stopped bool                              // no new clients
	closed  bool
}

// serveRoots begins to listen. The caller holds gc.lock exclusively, so nobody else listens.
//
// The socket takes the place of another one, so that there always is one: a client of Nix 2.8 that finds none
// takes its root for safe, while one whose connection is refused looks again whether there is a collector.
func serveRoots(l layout) (*rootsServer, error) {
	listener, err := listenAt(l.gcSocket())
	if err != nil {
		return nil, fmt.Errorf("listening for roots: %w", err)
	}
	s := &rootsServer{
		dir:      l.dir,
		socket:   l.gcSocket(),
		listener: listener,
		accepted: make(chan struct{}),
		roots:    make(map[string]bool),
		deleted:  make(map[string]int),
		conns:    make(map[*net.UnixConn]map[string]bool),
	}
	s.changed.L = &s.mu
	go s.accept()
	return s, nil
}

// maxRootConns is how many may tell roots at once. Who comes later waits to be accepted.
const maxRootConns = 1024

func (s *rootsServer) accept() {
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
			time.Sleep(collectorPause) // no files left, say; or it is to stop
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

// maxRootLine is more than a path can have.
const maxRootLine = 8 << 10

// serve answers one client.
func (s *rootsServer) serve(conn *net.UnixConn) {
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
		// As in Nix, what is no path is answered as well.
		if path, err := s.dir.Parse(string(line[:len(line)-1])); err == nil {
			if err := s.protect(conn, path.HashPart()); err != nil {
				return
			}
		}
		if _, err := conn.Write([]byte{collectorAck}); err != nil {
			return
		}
	}
}

// protect makes a root. If the path is being deleted just now, it waits until that is done, for
// the client may create it again.
func (s *rootsServer) protect(conn *net.UnixConn, hashPart string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn][hashPart] = true
	if !s.roots[hashPart] {
		s.roots[hashPart] = true
		s.arrived = append(s.arrived, hashPart)
	}
	for s.deleted[hashPart] > 0 {
		if s.closed {
			return io.ErrClosedPipe
		}
		s.changed.Wait()
	}
	return nil
}

// begin marks as being deleted what choose returns. choose is told the roots that have
// arrived since the last time, and no other comes before it has returned.
func (s *rootsServer) begin(choose func(arrived []string) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := s.arrived
	s.arrived = nil
	for _, hashPart := range choose(arrived) {
		s.deleted[hashPart]++
	}
}

// end says that something is deleted. An object and its lock file, say, have the same hash part.
func (s *rootsServer) end(hashParts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashParts {
		if s.deleted[h]--; s.deleted[h] <= 0 {
			delete(s.deleted, h)
		}
	}
	s.changed.Broadcast()
}

// unwritten reports whether a client that is still there has told of a root which is not among
// those.
func (s *rootsServer) unwritten(hashParts map[string]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, told := range s.conns {
		for h := range told {
			if !hashParts[h] {
				return true
			}
		}
	}
	return false
}

// stopListening takes no new clients. Those who have connected are all accepted first: to a
// client that is turned away after that the system says "connection reset", which Nix 2.8 takes
// for an answer.
func (s *rootsServer) stopListening() error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	s.mu.Unlock()
	const drain = 5 * time.Millisecond // in which no client comes who could not connect any more
	err := errors.Join(makeDeadSocket(s.socket, true), s.listener.SetDeadline(time.Now().Add(drain)))
	s.changed.Broadcast()
	<-s.accepted
	return errors.Join(err, s.listener.Close())
}

// close hangs up on all clients, when what they have told is answered, and returns when nothing
// runs any more.
func (s *rootsServer) close() error {
	err := s.stopListening()
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.CloseRead() // what has come can still be read
		conn.SetWriteDeadline(time.Now().Add(lastAnswers))
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.serving.Wait()
	return err
}
