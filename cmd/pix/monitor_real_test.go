package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pix/internal/realnix"
	"pix/monitor"
	"pix/server"
)

// A nixMonitor is a monitor in front of a real daemon, at its socket.
type nixMonitor struct {
	stop func()

	mu               sync.Mutex
	events           []*monitor.Event
	clients, daemons []*teeConn // the connections of both sides
}

// A teeConn keeps the bytes that it has read and written.
type teeConn struct {
	*net.UnixConn
	mu            sync.Mutex
	read, written bytes.Buffer
	failed        bool // a write
}

func (c *teeConn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Write(p[:n])
	return n, err
}

func (c *teeConn) Write(p []byte) (int, error) {
	n, err := c.UnixConn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written.Write(p[:n])
	c.failed = c.failed || err != nil
	return n, err
}

// A teeListener accepts connections that keep their bytes.
type teeListener struct {
	net.Listener
	m *nixMonitor
}

func (l *teeListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &teeConn{UnixConn: nc.(*net.UnixConn)}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.clients = append(l.m.clients, c)
	return c, nil
}

// monitorNix puts a monitor in the place of the socket of a daemon.
func monitorNix(t *testing.T, d *realnix.Daemon) *nixMonitor {
	t.Helper()
	behind := d.Socket + ".behind"
	if err := os.Rename(d.Socket, behind); err != nil {
		t.Fatal(err)
	}
	l, err := server.ListenUnix(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := monitor.CreateRecorder(filepath.Join(t.TempDir(), "recording"))
	if err != nil {
		t.Fatal(err)
	}
	m := new(nixMonitor)
	p := &monitor.Monitor{
		Dial: func(ctx context.Context, client *monitor.Client) (net.Conn, error) {
			nc, err := monitor.DialUnix(behind)(ctx, client)
			if err != nil {
				return nil, err
			}
			c := &teeConn{UnixConn: nc.(*net.UnixConn)}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.daemons = append(m.daemons, c)
			return c, nil
		},
		Handle: func(e *monitor.Event) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events = append(m.events, e)
		},
		Recorder: recorder,
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, &teeListener{l, m}) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := recorder.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

// check checks that the bytes on both sides are equal, and that everything was understood.
//
// Nix 2.3 sends paths that are not valid, and daemons refuse them. There the connection becomes raw.
func (m *nixMonitor) check(t *testing.T, sendsInvalid bool) {
	t.Helper()
	m.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	compareStreams(t, "from the clients", m.clients, m.daemons)
	compareStreams(t, "from the daemon", m.daemons, m.clients)
	operations, raw := 0, make(map[int]bool)
	for _, e := range m.events {
		raw[e.Conn] = raw[e.Conn] || sendsInvalid && e.Raw != nil && strings.Contains(e.Raw.Reason, "is not valid")
		switch {
		case e.Raw != nil && raw[e.Conn]:
		case e.Raw != nil || e.Failure != nil:
			t.Errorf("%v", e)
		case e.Operation != nil:
			operations++
		case e.Client != nil && (e.Client.PID == 0 || e.Client.UID != os.Getuid() || len(e.Client.Command) == 0):
			t.Errorf("%v", e)
		}
	}
	if operations == 0 {
		t.Error("there are no operations")
	}
	t.Logf("%d connections, %d operations", len(m.clients), operations)
}

// compareStreams compares what one side of a monitor has read with what the other side has written. A write fails if the
// receiver has closed its connection.
func compareStreams(t *testing.T, what string, from, to []*teeConn) {
	t.Helper()
	count := make(map[string]int)
	failed := 0
	for _, c := range from {
		c.mu.Lock()
		count[fmt.Sprintf("%d bytes, sha256 %x", c.read.Len(), sha256.Sum256(c.read.Bytes()))]++
		c.mu.Unlock()
	}
	for _, c := range to {
		c.mu.Lock()
		if c.failed {
			failed++
		} else {
			count[fmt.Sprintf("%d bytes, sha256 %x", c.written.Len(), sha256.Sum256(c.written.Bytes()))]--
		}
		c.mu.Unlock()
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	if len(count) > failed {
		t.Errorf("%s, %d streams were changed:\n%s", what, len(count), strings.Join(slices.Sorted(maps.Keys(count)), "\n"))
	}
}

// Stock clients get the same answers through a monitor: of all versions with PIX_LONG=1, also from daemons of their own
// version.
func TestDaemonAnswersAsNixMonitored(t *testing.T) {
	long := os.Getenv("PIX_LONG") != ""
	world := makeWorld(t)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		daemons := []realnix.Suite{realnix.Get(t, "sid")}
		if s.Name != "sid" && !long {
			t.Skip("set PIX_LONG=1 to run all versions")
		}
		if s.Name != "sid" && long {
			daemons = append(daemons, s)
		}
		t.Parallel()
		for _, version := range daemons {
			direct, through := realnix.Start(t, version, nil), realnix.Start(t, version, nil)
			m := monitorNix(t, through)
			want := converse(t, direct, direct.ClientOf(t, s), world, conversation)
			got := converse(t, through, through.ClientOf(t, s), world, conversation)
			compareAnswers(t, s, want, got)
			m.check(t, s.Name == "bullseye")
		}
	})
}

// Clients of daemons: their user and their group. Member belongs to nixbld by /etc/group, and sibling by its own group.
var (
	rootClient    = syscall.Credential{}
	nobodyClient  = syscall.Credential{Uid: 65534, Gid: 65534}
	memberClient  = syscall.Credential{Uid: 30001, Gid: 65534}
	siblingClient = syscall.Credential{Uid: 65534, Gid: 30000}
)

// A monitor of root connects to a daemon as the user of the client, who gets the trust that it has without the monitor.
func TestMonitorKeepsTrust(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		for _, c := range []struct {
			trustedUsers string
			trusted      []syscall.Credential
			others       []syscall.Credential
		}{
			{"root @nixbld", []syscall.Credential{rootClient, memberClient, siblingClient}, []syscall.Credential{nobodyClient}},
			{"nobody", []syscall.Credential{nobodyClient}, []syscall.Credential{rootClient}},
		} {
			d := realnix.Start(t, s, &realnix.Options{Config: map[string]string{"trusted-users": c.trustedUsers}})
			if err := os.Chmod(filepath.Dir(d.Dir), 0o755); err != nil {
				t.Fatal(err)
			}
			clients := slices.Concat(c.trusted, c.others)
			want := make([]string, len(clients))
			for i, client := range clients {
				want[i] = trustOf(t, d, client)
				if isTrusted := strings.Contains(want[i], "(trusted)"); isTrusted != (i < len(c.trusted)) {
					t.Errorf("trusted-users = %s: user %d, group %d has the trust %q", c.trustedUsers, client.Uid, client.Gid, want[i])
				}
			}
			m := monitorNix(t, d)
			for i, client := range clients {
				if got := trustOf(t, d, client); got != want[i] {
					t.Errorf("trusted-users = %s: user %d, group %d has the trust %q, want %q", c.trustedUsers, client.Uid, client.Gid, got, want[i])
				}
			}
			m.stop()
			for _, e := range m.events {
				if e.Handshake != nil && !olderThan(s, "2.10") && e.Handshake.Trust == "unknown" {
					t.Errorf("%v", e)
				}
			}
		}
	})
}

// accepted matches the message of a daemon about a client.
var accepted = regexp.MustCompile(`accepted connection from pid [^,]*, (user [^ \n]*( \(trusted\))?)`)

// trustOf returns the user and the trust that the daemon logs for a client, the trust that it reports to the client, and the
// operations that it allows.
func trustOf(t *testing.T, d *realnix.Daemon, client syscall.Credential) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "daemon-info", "--json", "--store", "unix://"+d.Socket)
	cmd.Args[0] = "pix"
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "GORACE=atexit_sleep_ms=0"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &client}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var info daemonInfoJSON
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, op := range info.Operations {
		allowed = append(allowed, fmt.Sprint(op.Name, op.Reason == nil))
	}
	logged := accepted.FindAllStringSubmatch(d.Stderr(), -1)
	if len(logged) == 0 {
		t.Fatalf("the daemon has logged no connection:\n%s", d.Stderr())
	}
	return logged[len(logged)-1][1] + ", " + info.Trust + " " + strings.Join(allowed, " ")
}
