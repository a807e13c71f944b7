package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"pix/internal/modes"
)

// ErrInUse means that another process listens on a socket.
var ErrInUse = errors.New("another process already listens on it")

// ListenUnix listens on a Unix socket at path, to which every user may connect. [Access]
// decides what they may do. ListenUnix creates a missing directory. It replaces a socket on
// which no process listens. If a process listens on it, the error is [ErrInUse]. Any other file
// is an error, too. On Linux the path may be of any length.
//
// Closing the listener removes the socket, unless another socket has taken its place.
func ListenUnix(path string) (net.Listener, error) {
	return listen(path, modes.MkdirAll, 0o666)
}

// ListenPrivate is like [ListenUnix], but only the user of this process, and root, can connect. The
// same holds for a directory that it creates.
func ListenPrivate(path string) (net.Listener, error) {
	return listen(path, func(dir string) error { return os.MkdirAll(dir, 0o700) }, 0o600)
}

func listen(path string, mkdir func(dir string) error, mode fs.FileMode) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	l, err := listenUnix(path, mkdir, mode)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return l, nil
}

func listenUnix(path string, mkdir func(dir string) error, mode fs.FileMode) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	unlock, err := lockSocket(path) // otherwise two processes could both replace an old socket
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkReplaceable(path); err != nil {
		return nil, err
	}
	// Create the socket under a temporary name, and rename it when it has its mode. So no client is
	// refused in between.
	tmp := filepath.Join(dir, fmt.Sprintf(".%d-%x", os.Getpid(), rand.Uint32()))
	name, release, err := shortName(tmp)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	own, err := publish(tmp, path, mode)
	if err != nil {
		os.Remove(tmp)
		l.Close()
		return nil, err
	}
	return &socket{UnixListener: l, path: path, own: own}, nil
}

// publish changes the mode of the socket tmp, and renames it to path.
func publish(tmp, path string, mode fs.FileMode) (fs.FileInfo, error) {
	if err := os.Chmod(tmp, mode); err != nil {
		return nil, err
	}
	own, err := os.Lstat(tmp)
	if err != nil {
		return nil, err
	}
	return own, os.Rename(tmp, path)
}

// checkReplaceable returns an error if path exists and is anything other than a socket on which
// no process listens.
func checkReplaceable(path string) error {
	name, release, err := shortName(path)
	if err != nil {
		return err
	}
	defer release()
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the file exists and is not a socket; remove it, or choose another path")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", name)
	if err == nil {
		nc.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) { // for example, the queue of the listener is full
		return fmt.Errorf("%w, or this cannot be determined: %w", ErrInUse, err)
	}
	return nil
}

// A socket is a listener that removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path string
	own  fs.FileInfo
	once sync.Once
}

// Addr implements net.Listener.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close implements net.Listener.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.own) {
			os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}

// firstInherited is the descriptor of the first socket from systemd.
const firstInherited = 3

// maxInherited limits the number of inherited sockets.
const maxInherited = 64

// Inherited returns the listeners that systemd, or a program with the same protocol, has opened
// for this process. They are described by the environment variables LISTEN_FDS and LISTEN_PID.
// If LISTEN_FDS is not set, there are none. If the variables are for another process, that is
// an error. Inherited must be called at most once, before the process opens files.
func Inherited(getenv func(string) string) ([]net.Listener, error) {
	fds := getenv("LISTEN_FDS")
	if fds == "" {
		return nil, nil
	}
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("unexpected systemd environment variables: LISTEN_FDS is %q, but LISTEN_PID is %q, and this is process %d", fds, getenv("LISTEN_PID"), os.Getpid())
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("unexpected systemd environment variables: LISTEN_FDS is %q", fds)
	}
	var listeners []net.Listener
	for i := range n {
		f := os.NewFile(uintptr(firstInherited+i), "LISTEN_FDS")
		l, err := net.FileListener(f) // a duplicate that is closed on exec
		f.Close()
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, fmt.Errorf("the socket %d of LISTEN_FDS: %w", i, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// Stdio returns a connection that reads from one file and writes to another, such as the
// standard streams of a process that runs behind ssh: see nix-daemon --stdio. If the files are
// pipes or sockets, closing the connection ends a blocked Read. It does not close the files.
// Nothing else may use them until the connection is closed.
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

// A stream is a duplicate of a file. Closing it ends a blocked Read or Write.
type stream struct {
	*os.File
	restore func()
}

func (s *stream) close() {
	s.restore()
	s.File.Close()
}

func (s *stdio) Read(p []byte) (int, error) { return s.in.Read(p) }

func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

// Close implements net.Conn.
func (s *stdio) Close() error {
	s.once.Do(func() {
		s.in.close()
		s.out.close()
	})
	return nil
}

func (s *stdio) LocalAddr() net.Addr { return stdioAddr{} }

func (s *stdio) RemoteAddr() net.Addr { return stdioAddr{} }

func (s *stdio) SetDeadline(t time.Time) error {
	if err := s.in.SetReadDeadline(t); err != nil {
		return err
	}
	return s.out.SetWriteDeadline(t)
}

func (s *stdio) SetReadDeadline(t time.Time) error { return s.in.SetReadDeadline(t) }

func (s *stdio) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }

func (stdioAddr) String() string { return "stdio" }
