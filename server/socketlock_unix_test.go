//go:build unix

package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
)

// A lock of another user on the directory of the socket, or on any file that other users can
// open there, does not prevent listening.
func TestLocksOfOthers(t *testing.T) {
	dir := testenv.SocketDir(t)
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	go func() {
		l, err := ListenUnix(filepath.Join(dir, "socket"))
		if err == nil {
			l.Close()
		}
		listening <- err
	}()
	select {
	case err := <-listening:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("ListenUnix waits for a lock on the directory")
	}
}

// With any umask other users cannot open the lock file, and it is removed afterwards.
func TestLockFileIsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := testenv.SocketDir(t)
	name := filepath.Join(dir, ".socket.lock")
	unlock, err := lockSocket(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(name)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	unlock()
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock file remains: %v", err)
	}
}

// A lock file that another user may have created is an error that names the file.
func TestLockFileOfOthers(t *testing.T) {
	for what, create := range map[string]func(name string) error{
		"open to others": func(name string) error { return errors.Join(os.WriteFile(name, nil, 0o600), os.Chmod(name, 0o666)) },
		"a symlink":      func(name string) error { return os.Symlink("/etc/passwd", name) },
		"a directory":    func(name string) error { return os.Mkdir(name, 0o700) },
		"a FIFO":         func(name string) error { return unix.Mkfifo(name, 0o600) },
		"of another user": func(name string) error {
			if os.Getuid() != 0 {
				return os.ErrPermission
			}
			return errors.Join(os.WriteFile(name, nil, 0o600), os.Chown(name, 1, 1))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := testenv.SocketDir(t)
			name := filepath.Join(dir, ".socket.lock")
			if err := create(name); err != nil {
				t.Skip(err)
			}
			before, err := os.Lstat(name)
			if err != nil {
				t.Fatal(err)
			}
			l, err := ListenUnix(filepath.Join(dir, "socket"))
			if err == nil {
				l.Close()
				t.Fatal("the lock file was accepted")
			}
			if !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if after, err := os.Lstat(name); err != nil || !os.SameFile(before, after) {
				t.Errorf("the file was removed or replaced: %v", err)
			}
		})
	}
}

// The lock file of a killed process locks nothing.
func TestLeftLockFile(t *testing.T) {
	dir := testenv.SocketDir(t)
	if err := os.WriteFile(filepath.Join(dir, ".socket.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := ListenUnix(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// Only one holds the lock at a time, although each removes the file.
func TestLockSocketExcludes(t *testing.T) {
	path := filepath.Join(testenv.SocketDir(t), "socket")
	var inside, most int
	var mu sync.Mutex
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		inside += n
		most = max(most, inside)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				unlock, err := lockSocket(path)
				if err != nil {
					t.Error(err)
					return
				}
				count(1)
				time.Sleep(10 * time.Microsecond)
				count(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at once", most)
	}
}

// listenRole turns the test binary into a process that listens on an unused socket and prints
// whether it got it.
const listenRole = "PIX_TEST_LISTEN"

// Of many processes that start at once next to an unused socket, one gets it and serves.
func TestListenRaceOfProcesses(t *testing.T) {
	if path := os.Getenv(listenRole); path != "" {
		l, err := ListenUnix(path)
		if errors.Is(err, ErrInUse) {
			fmt.Println("in use")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("listening")
		nc, err := l.Accept()
		for err == nil { // connections of processes that check for a listener, and finally of the test
			var b [1]byte
			if n, _ := nc.Read(b[:]); n == 1 {
				break
			}
			nc, err = l.Accept()
		}
		l.Close()
		return
	}
	path := filepath.Join(testenv.SocketDir(t), "socket")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	said := make(map[string]int)
	for range 6 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestListenRaceOfProcesses$")
			cmd.Env = append(os.Environ(), listenRole+"="+path)
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			b := make([]byte, 100)
			n, _ := out.Read(b)
			mu.Lock()
			word, _, _ := strings.Cut(string(b[:n]), "\n")
			said[word]++
			all := said["listening"] + said["in use"]
			mu.Unlock()
			if all == 6 {
				if nc, err := net.Dial("unix", path); err != nil {
					t.Errorf("connecting to the listener failed: %v", err)
				} else {
					nc.Write([]byte{1})
					nc.Close()
				}
			}
			cmd.Wait()
		})
	}
	wg.Wait()
	if said["listening"] != 1 || said["in use"] != 5 {
		t.Errorf("%v", said)
	}
}
