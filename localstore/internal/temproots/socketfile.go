package temproots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen listens on a new socket, which replaces the file with the name socket.
func listen(socket string) (listener *net.UnixListener, err error) {
	err = makeSocket(socket, func(temp string, l *net.UnixListener) error {
		listener = l
		return os.Rename(temp, socket)
	})
	if err != nil && listener != nil {
		listener.Close()
	}
	return listener, err
}

// makeDeadSocket creates a socket on which no process listens, so that connections are refused. replace says whether to
// replace an existing file with this name.
func makeDeadSocket(socket string, replace bool) error {
	return makeSocket(socket, func(temp string, l *net.UnixListener) error {
		if err := l.Close(); err != nil { // before a client sees the name
			return err
		}
		if replace {
			return os.Rename(temp, socket)
		}
		if err := os.Link(temp, socket); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// makeSocket creates a socket with a temporary name in the same directory, and calls put to move it.
func makeSocket(socket string, put func(temp string, l *net.UnixListener) error) error {
	if err := makeDir(filepath.Dir(socket)); err != nil {
		return err
	}
	// A process in another PID namespace may have the same id, so the name also has a random number.
	temp := fmt.Sprintf("%s.%d-%d", socket, os.Getpid(), rand.Uint64())
	defer os.Remove(temp) // does nothing if put renamed it
	listener, err := withShortName(temp, func(name string) (*net.UnixListener, error) {
		return listenPrivately(name)
	})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)                      // it will have another name
	if err := os.Chmod(temp, privateSocket); err != nil { // where listenPrivately has no effect
		return errors.Join(err, listener.Close())
	}
	return put(temp, listener)
}

// privateSocket is the mode of the socket. Only the owner can lock gc.lock, so only the owner can add to the store.
// Other users could only prevent that the owner's requests are answered, or that garbage is collected.
const privateSocket = 0o600

// listenPrivately listens on a new socket. On Linux the file gets the mode of the socket, less the umask. Otherwise
// other users could connect before its mode is changed.
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
