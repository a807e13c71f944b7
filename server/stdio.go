package server

import (
	"net"
	"os"
	"sync"
	"time"
)

// Stdio returns a connection that reads from one file and writes to another, such as the
// standard streams of a process that runs behind ssh: see nix-daemon --stdio. Closing it ends
// a Read that waits, where the files are pipes or sockets; it does not close the files.
//
// Nothing else may use the files until it is closed.
func Stdio(in, out *os.File) (net.Conn, error) {
	r, err := pollable(in)
	if err != nil {
		return nil, err
	}
	w, err := pollable(out)
	if err != nil {
		r.close()
		return nil, err
	}
	return &stdio{in: r, out: w}, nil
}

type stdio struct {
	in, out *stream
	once    sync.Once
}

// A stream is a duplicate of a file, on which nobody waits longer than until it is closed.
type stream struct {
	*os.File
	restore func()
}

func (s *stream) close() {
	s.restore()
	s.File.Close()
}

func (s *stdio) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

// Close implements net.Conn.
func (s *stdio) Close() error {
	s.once.Do(func() {
		s.in.close()
		s.out.close()
	})
	return nil
}

func (s *stdio) LocalAddr() net.Addr  { return stdioAddr{} }
func (s *stdio) RemoteAddr() net.Addr { return stdioAddr{} }

func (s *stdio) SetDeadline(t time.Time) error {
	if err := s.in.SetReadDeadline(t); err != nil {
		return err
	}
	return s.out.SetWriteDeadline(t)
}
func (s *stdio) SetReadDeadline(t time.Time) error  { return s.in.SetReadDeadline(t) }
func (s *stdio) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }
