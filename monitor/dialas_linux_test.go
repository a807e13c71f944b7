package monitor_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pix/internal/testenv"
	"pix/monitor"
	"pix/server"
)

// A monitor of root connects with the supplementary groups of a client: one of them opens the
// directory of the daemon's socket, as it does without the monitor.
func TestDialKeepsGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	const user, group, other = 65534, 4242, 4243
	dir := testenv.SocketDir(t)
	private := filepath.Join(dir, "private")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(private, 0o700), os.Chown(private, 0, group), os.Chmod(private, 0o710)); err != nil {
		t.Fatal(err)
	}
	behind := filepath.Join(private, "s")
	answerPeers(t, behind)
	l, err := server.ListenUnix(filepath.Join(dir, "m"))
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan *monitor.Event, 100)
	m := &monitor.Monitor{Dial: monitor.DialUnix(behind), Handle: func(e *monitor.Event) { events <- e }}
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context(), l) }()
	for _, c := range []struct {
		gid    uint32
		groups []uint32
		want   string
	}{
		{user, []uint32{other, group}, "user 65534, group 65534"},
		{group, nil, "user 65534, group 4242"},
		{user, []uint32{other}, ""},
		{user, nil, ""},
	} {
		credential := &syscall.Credential{Uid: user, Gid: c.gid, Groups: c.groups}
		if got := dialAs(t, behind, credential); got != c.want {
			t.Errorf("groups %d %d without the monitor: %q, want %q", c.gid, c.groups, got, c.want)
		}
		if got := dialAs(t, l.Addr().String(), credential); got != c.want {
			t.Errorf("groups %d %d: %q, want %q", c.gid, c.groups, got, c.want)
		}
	}
	l.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	close(events)
	refused := 0
	for e := range events {
		if e.Failure != nil {
			refused++
			if !strings.HasSuffix(e.Failure.Reason, "permission denied") {
				t.Errorf("%v", e)
			}
		}
	}
	if refused != 2 {
		t.Errorf("%d clients were refused, want 2", refused)
	}
}

// answerPeers listens on a socket that every user may connect to, and sends each client its user and
// group.
func answerPeers(t *testing.T, path string) {
	t.Helper()
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			text := "unknown"
			if peer, err := server.PeerOf(nc); err == nil {
				text = fmt.Sprintf("user %d, group %d", peer.UID, peer.GID)
			}
			io.WriteString(nc, text)
			nc.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// dialAs returns what a socket sends to a process with these ids, or "" if it cannot connect.
func dialAs(t *testing.T, socket string, credential *syscall.Credential) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", socket, "")
	cmd.Env = []string{roleVariable + "=client", "GORACE=atexit_sleep_ms=0"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == clientRefused {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
