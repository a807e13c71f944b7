package server_test

import (
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/server"
)

func TestListenUnix(t *testing.T) {
	dir := testenv.SocketDir(t)
	path := filepath.Join(dir, "a", "b", "socket")
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := server.ListenUnix(path); !errors.Is(err, server.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second listener: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket remains after Close: %v", err)
	}
}

func TestDeadSocketIsReplaced(t *testing.T) {
	path := filepath.Join(testenv.SocketDir(t), "socket")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	// A socket that has replaced ours stays.
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("closing the first removed the socket of the second: %v", err)
	}
}

func TestOtherFilesAreKept(t *testing.T) {
	path := filepath.Join(testenv.SocketDir(t), "socket")
	if err := os.WriteFile(path, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := server.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is %q", b)
	}
}

func TestLongSocketPath(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has sockets with long names")
	}
	dir := filepath.Join(testenv.SocketDir(t), strings.Repeat("d", 150))
	path := filepath.Join(dir, strings.Repeat("s", 60))
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.ListenUnix(path); !errors.Is(err, server.ErrInUse) {
		t.Errorf("a second listener: %v", err)
	}
	t.Chdir(dir)
	nc, err := net.Dial("unix", filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket remains after Close: %v", err)
	}
	if l, err := server.ListenUnix(filepath.Join(dir, strings.Repeat("s", 120))); err == nil {
		l.Close()
		t.Error("a name that no client can connect to was accepted")
	}
}

// Of many listeners that start at once, one gets the socket.
func TestListenUnixRace(t *testing.T) {
	path := filepath.Join(testenv.SocketDir(t), "socket")
	for range 20 {
		var wg sync.WaitGroup
		got := make(chan net.Listener, 8)
		for range cap(got) {
			wg.Go(func() {
				if l, err := server.ListenUnix(path); err == nil {
					got <- l
				} else if !errors.Is(err, server.ErrInUse) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Errorf("%d got the socket", len(got))
		}
		for len(got) > 0 {
			(<-got).Close()
		}
	}
}

// inheritRole turns the test binary into a process that serves an inherited socket.
const inheritRole = "PIX_TEST_INHERIT"

func TestInherited(t *testing.T) {
	if os.Getenv(inheritRole) != "" {
		listeners, err := server.Inherited(os.Getenv)
		if err != nil || len(listeners) != 1 {
			t.Fatalf("%v, %v", listeners, err)
		}
		nc, err := listeners[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		nc.Write([]byte("served"))
		nc.Close()
		return
	}
	path := filepath.Join(testenv.SocketDir(t), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", os.Args[0], "-test.run=^TestInherited$")
	cmd.Env = append(os.Environ(), inheritRole+"=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 6)
	if n, err := nc.Read(b); string(b[:n]) != "served" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the process that inherited the socket has removed it: %v", err)
	}
}

func TestNotInherited(t *testing.T) {
	for _, c := range []struct{ fds, pid string }{{"1", ""}, {"1", "1"}, {"many", "own"}, {"-1", "own"}, {"100000", "own"}} {
		if c.pid == "own" {
			c.pid = fmtPID()
		}
		env := map[string]string{"LISTEN_FDS": c.fds, "LISTEN_PID": c.pid}
		if l, err := server.Inherited(func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), "unexpected systemd environment variables") {
			t.Errorf("%v: %v, %v", c, l, err)
		}
	}
	if l, err := server.Inherited(func(string) string { return "" }); l != nil || err != nil {
		t.Errorf("%v, %v", l, err)
	}
}

// Every user can connect to the socket, with any umask of the server.
func TestListenUnixModes(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		dir := t.TempDir()
		l, err := server.ListenUnix(filepath.Join(dir, "deep", "socket"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		got := testenv.Modes(t, filepath.Join(dir, "deep"))
		if want := map[string]string{".": "d0755", "socket": "s0666"}; !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
