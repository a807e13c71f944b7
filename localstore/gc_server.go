package localstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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
	listener *net.UnixListener
	serving  sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond       // deleting became less, or closed is true
	roots   map[string]bool // hash parts
	arrived []string        // those that came since take was last called
	deleted map[string]bool // hash parts of what is being deleted just now
	conns   map[*net.UnixConn]bool
	closed  bool
}

// serveRoots begins to listen. The caller holds gc.lock exclusively, so nobody else listens.
func serveRoots(l layout) (*rootsServer, error) {
	socket := l.gcSocket()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, err
	}
	if err := ignoreMissing(os.Remove(socket)); err != nil {
		return nil, err
	}
	listener, err := withShortName(socket, func(name string) (*net.UnixListener, error) {
		return net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	})
	if err != nil {
		return nil, fmt.Errorf("listening for roots: %w", err)
	}
	listener.SetUnlinkOnClose(false) // by then, it may be that of the next collector
	if err := os.Chmod(socket, 0o666); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &rootsServer{
		dir:      l.dir,
		listener: listener,
		roots:    make(map[string]bool),
		deleted:  make(map[string]bool),
		conns:    make(map[*net.UnixConn]bool),
	}
	s.changed.L = &s.mu
	s.serving.Go(s.accept)
	return s, nil
}

// maxRootConns is how many may tell roots at once. Who comes later waits to be accepted.
const maxRootConns = 1024

func (s *rootsServer) accept() {
	for {
		s.mu.Lock()
		for len(s.conns) >= maxRootConns && !s.closed {
			s.changed.Wait()
		}
		s.mu.Unlock()
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(collectorPause) // no files left, say
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.conns[conn] = true
		s.serving.Go(func() { s.serve(conn) })
		s.mu.Unlock()
	}
}

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
			if err := s.protect(path.HashPart()); err != nil {
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
func (s *rootsServer) protect(hashPart string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roots[hashPart] {
		s.roots[hashPart] = true
		s.arrived = append(s.arrived, hashPart)
	}
	for s.deleted[hashPart] {
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
		s.deleted[hashPart] = true
	}
}

// end says that something is deleted.
func (s *rootsServer) end(hashParts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashParts {
		delete(s.deleted, h)
	}
	s.changed.Broadcast()
}

// close hangs up on all clients, and returns when nothing runs any more.
func (s *rootsServer) close() error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for conn := range s.conns {
		conn.Close()
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.serving.Wait()
	return err
}
