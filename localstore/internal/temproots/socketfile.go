package temproots

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
)

// listen listens on a socket that replaces the file of that name.
func listen(socket string) (listener *net.UnixListener, err error) {
	err = makeSocket(socket, func(made string, l *net.UnixListener) error {
		listener = l
		return os.Rename(made, socket)
	})
	if err != nil && listener != nil {
		listener.Close()
	}
	return listener, err
}

// makeDeadSocket makes a socket on which no process listens, so that connections are refused. With
// replace it replaces the file of that name; otherwise that file stays.
func makeDeadSocket(socket string, replace bool) error {
	return makeSocket(socket, func(made string, l *net.UnixListener) error {
		if err := l.Close(); err != nil { // before a client knows the name
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

// makeSocket makes a socket under a name beside that one, and calls put to move it.
func makeSocket(socket string, put func(made string, l *net.UnixListener) error) error {
	if err := makeDir(filepath.Dir(socket)); err != nil {
		return err
	}
	// A process of another PID namespace may have the same id, so that is not enough for a unique name.
	made := fmt.Sprintf("%s.%d-%d", socket, os.Getpid(), rand.Uint64())
	defer os.Remove(made) // unless put renamed it
	listener, err := withShortName(made, func(name string) (*net.UnixListener, error) {
		return net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false) // it will have another name
	// Only the owner of gc.lock can add to the store. Other users could send roots to keep garbage, or
	// take connections away from those who need them.
	if err := os.Chmod(made, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	return put(made, listener)
}
