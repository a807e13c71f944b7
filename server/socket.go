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
	"sync"
	"syscall"
	"time"

	"pix/internal/modes"
)

// ErrInUse says that another process listens on a socket.
var ErrInUse = errors.New("another process listens there already")

// ListenUnix listens on a Unix socket at path, to which everybody may connect: who may do
// more is for [Access] to say. A directory that is missing is made. A socket that nobody
// listens on any more is replaced; one that another process listens on is [ErrInUse], and any other
// file is an error. On Linux the path may be of any length.
//
// Closing the listener removes the socket, unless another one has taken its place.
func ListenUnix(path string) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := modes.MkdirAll(dir); err != nil {
		return nil, err
	}
	unlock, err := lockSocket(path) // or two that start at once could both find the socket dead
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkDead(path); err != nil {
		return nil, err
	}
	// Under a name of its own until everybody may connect, so that nobody is ever refused.
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
	own, err := publish(tmp, path)
	if err != nil {
		os.Remove(tmp)
		l.Close()
		return nil, err
	}
	return &socket{UnixListener: l, path: path, own: own}, nil
}

// publish lets everybody connect to a socket, and gives it its name.
func publish(tmp, path string) (fs.FileInfo, error) {
	if err := os.Chmod(tmp, 0o666); err != nil {
		return nil, err
	}
	own, err := os.Lstat(tmp)
	if err != nil {
		return nil, err
	}
	return own, os.Rename(tmp, path)
}

// checkDead returns an error if there is anything at path that must not be replaced.
func checkDead(path string) error {
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
		return errors.New("there is a file that is no socket; remove it, or choose another path")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", name)
	if err == nil {
		nc.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) { // such as one with too many waiting
		return fmt.Errorf("%w, or it cannot be found out: %w", ErrInUse, err)
	}
	return nil
}

// A socket is a listener that removes its file.
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
