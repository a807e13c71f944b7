package daemontest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/internal/testenv"
	"pix/monitor"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
)

// A monitored daemon is a transport through a monitor.
type monitored struct {
	daemon.Unix
	record string
	events []*monitor.Event // valid after stop
	stop   func()
}

// startMonitor starts a monitor of a daemon, which records.
func startMonitor(t *testing.T, d *daemontest.Daemon, bodies bool) *monitored {
	t.Helper()
	return startMonitorOf(t, d.Socket(), filepath.Join(testenv.SocketDir(t), "socket"), bodies)
}

// startMonitorOf starts a monitor that listens on socket, and records what clients say to the daemon
// behind it.
func startMonitorOf(t *testing.T, behind, socket string, bodies bool) *monitored {
	t.Helper()
	m := &monitored{Unix: daemon.Unix{Path: socket}, record: filepath.Join(t.TempDir(), "record")}
	recorder, err := monitor.CreateRecorder(m.record)
	if err != nil {
		t.Fatal(err)
	}
	recorder.Bodies = bodies
	proxy := &monitor.Monitor{
		Dial:     func(context.Context, *monitor.Client) (net.Conn, error) { return net.Dial("unix", behind) },
		Handle:   func(e *monitor.Event) { m.events = append(m.events, e) },
		Recorder: recorder,
	}
	l, err := server.ListenPrivate(m.Path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(t.Context(), l) }()
	m.stop = sync.OnceFunc(func() {
		l.Close()
		if err := errors.Join(<-served, recorder.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

// All operations of a client are understood by a monitor, in every version. Its recording can be
// replayed, and has the same lines as the trace of the client.
func TestMonitorEverything(t *testing.T) {
	for minor := uint8(18); minor <= 38; minor++ {
		t.Run(fmt.Sprintf("1.%d", minor), func(t *testing.T) {
			t.Parallel()
			d := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(minor), NoFeatures: minor%2 == 0})
			m := startMonitor(t, d, true)
			var trace bytes.Buffer
			want := everythingTraced(t, m, &trace)
			m.stop()
			checkUnderstood(t, m.events, trace.String())

			recording, err := os.ReadFile(m.record)
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			got := everythingTraced(t, daemontest.Replay(t, bytes.NewReader(recording), nil), &again)
			compare(t, got, want)
		})
	}
}

func everythingTraced(t *testing.T, transport daemon.Transport, trace *bytes.Buffer) map[string]string {
	t.Helper()
	conn, err := daemon.DialTransport(t.Context(), transport, &daemon.Options{Trace: trace, TraceBody: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return everything(t, conn)
}

// checkUnderstood checks that each request of a trace is an event, in the same order.
func checkUnderstood(t *testing.T, events []*monitor.Event, trace string) {
	t.Helper()
	var got, want []string
	for _, e := range events {
		switch {
		case e.Raw != nil || e.Failure != nil:
			t.Errorf("%v", e)
		case e.Operation != nil && e.Operation.Unfinished != "":
			t.Errorf("%v", e)
		case e.Operation != nil:
			got = append(got, e.Operation.Name)
		}
	}
	for line := range strings.Lines(trace) {
		if _, request, ok := strings.Cut(line, " → "); ok && !strings.HasPrefix(request, "body ") {
			name, _, _ := strings.Cut(strings.TrimSpace(request), " ")
			want = append(want, name)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got the operations\n%s\nwant\n%s", got, want)
	}
}

// A recording without contents has neither contents nor secrets. Replay compares the hashes of
// uploads, in each of their forms.
func TestReplayDigests(t *testing.T) {
	const secret = "ghp-0123456789"
	settings := daemon.DefaultSettings()
	settings.Overrides = map[string]string{"access-tokens": "github.com=" + secret, "substituters": "https://me:" + secret + "@example.org"}
	use := func(t *testing.T, transport daemon.Transport, text string) {
		t.Helper()
		p, err := daemon.Open(t.Context(), transport, &daemon.Options{Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		info, archive := importable(t, text)
		if err := p.AddToStoreNAR(t.Context(), info, archive, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Log(err)
		}
	}
	for _, minor := range []uint8{18, 21, 22, 23, 38} {
		t.Run(fmt.Sprintf("1.%d", minor), func(t *testing.T) {
			d := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(minor)})
			m := startMonitor(t, d, false)
			text := strings.Repeat("the contents\n", 20000)
			use(t, m, text)
			m.stop()
			recording, err := os.ReadFile(m.record)
			if err != nil {
				t.Fatal(err)
			}
			for _, private := range []string{secret, "the contents"} {
				if bytes.Contains(recording, []byte(private)) {
					t.Errorf("the recording contains %q:\n%s", private, recording)
				}
			}
			replay := func(text string) string {
				said := new(judge)
				said.ctx = t.Context()
				use(t, daemontest.Replay(said, bytes.NewReader(recording), nil), text)
				said.end()
				return strings.Join(said.errors, "\n")
			}
			if said := replay(text); said != "" {
				t.Errorf("the same upload: %s", said)
			}
			if said := replay(strings.Repeat("other words.\n", 20000)); said == "" {
				t.Error("another upload is not refused")
			}
		})
	}
}

// importable returns the info and the archive of a file.
func importable(t *testing.T, text string) (*store.PathInfo, io.Reader) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := nar.Dump(t.Context(), &archive, file, nil); err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{
		Path: somePath, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()),
	}, &archive
}

// Replay refuses a recording with an archive that it does not have.
func TestReplayRefusesDigestOfDownload(t *testing.T) {
	d := daemontest.New(t, nil)
	m := startMonitor(t, d, false)
	p, err := daemon.Open(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	path, err := store.AddText(t.Context(), p, "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := p.NARFromPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, archive)
	archive.Close()
	p.Close()
	m.stop()
	recording, err := os.ReadFile(m.record)
	if err != nil {
		t.Fatal(err)
	}
	said := new(judge)
	said.ctx = t.Context()
	err = func() (err error) {
		defer func() { err, _ = recover().(error) }()
		daemontest.Replay(said, bytes.NewReader(recording), nil)
		return nil
	}()
	if err == nil || !strings.Contains(err.Error(), "record it with pix monitor --bodies") {
		t.Errorf("got %v", err)
	}
}
