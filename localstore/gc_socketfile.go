package localstore

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
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
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	made := fmt.Sprintf("%s.%d-%d", socket, os.Getpid(), sockets.Add(1))
	defer os.Remove(made) // unless it was renamed
	if err := ignoreMissing(os.Remove(made)); err != nil {
		return err
	}
	listener, err := withShortName(made, func(name string) (*net.UnixListener, error) {
		return net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false) // it has another name by then
	// Whoever may add to the store may lock gc.lock, and that is its owner alone. Others would only
	// keep those from being heard, or garbage from being collected.
	if err := os.Chmod(made, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	return put(made, listener)
}
