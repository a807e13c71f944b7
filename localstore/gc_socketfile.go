package localstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/internal/modes"
)

// sockets numbers those that this process makes.
var sockets atomic.Uint64

// listenAt listens on a socket that takes the place of what has its name.
func listenAt(socket string) (listener *net.UnixListener, err error) {
	err = makeSocket(socket, func(made string, l *net.UnixListener) error {
		listener = l
		return os.Rename(made, socket)
	})
	if err != nil && listener != nil {
		listener.Close()
	}
	return listener, err
}

// makeDeadSocket makes a socket on which nobody listens, so that connections are refused. With
// replace it takes the place of what has its name, else that stays.
func makeDeadSocket(socket string, replace bool) error {
	return makeSocket(socket, func(made string, l *net.UnixListener) error {
		if err := l.Close(); err != nil { // before anybody can connect
			return err
		}
		if replace {
			return os.Rename(made, socket)
		}
		if err := os.Link(made, socket); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// makeSocket makes a socket beside that name, for put to give it that.
func makeSocket(socket string, put func(made string, l *net.UnixListener) error) error {
	if err := modes.MkdirAll(filepath.Dir(socket)); err != nil {
		return err
	}
	made := fmt.Sprintf("%s.%d-%d", socket, os.Getpid(), sockets.Add(1))
	defer os.Remove(made) // unless it was renamed
	if err := ignoreMissing(os.Remove(made)); err != nil {
		return err
	}
	listener, err := withShortName(made, func(name string) (*net.UnixListener, error) {
		return listenPrivately(name)
	})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)                      // it has another name by then
	if err := os.Chmod(made, privateSocket); err != nil { // where listenPrivately has no effect
		return errors.Join(err, listener.Close())
	}
	return put(made, listener)
}

// privateSocket is the mode of the socket. Only the owner can lock gc.lock, so only the owner can add
// to the store. Other users could only keep the owner's requests from being answered, or
// garbage from being collected.
const privateSocket = 0o600

// listenPrivately listens on a new socket. On Linux the file gets the mode of the socket, less the
// umask. Without that, others could connect before its mode is changed.
func listenPrivately(name string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(socket uintptr) { unix.Fchmod(int(socket), privateSocket) })
	}}
	listener, err := config.Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, err
	}
	return listener.(*net.UnixListener), nil
}
