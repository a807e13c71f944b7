package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A recording is a connection that records all bytes.
type recording struct {
	net.Conn
	mu             sync.Mutex
	client, server bytes.Buffer
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.client.Write(p) // before sending, so that it is recorded when the answer arrives
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.Write(p[:n])
	return n, err
}

func (r *recording) sizes() (client, server int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.client.Len(), r.server.Len()
}

// A conversation is a connection to a daemon with its trace and its bytes.
type conversation struct {
	t     *testing.T
	conn  *daemon.Conn
	bytes *recording
	trace bytes.Buffer
}

func converse(t *testing.T, d *daemontest.Daemon) *conversation {
	nc, err := d.Dial(t.Context())
	checkErr(t, err)
	c := &conversation{t: t, bytes: &recording{Conn: nc}}
	c.conn, err = daemon.NewConn(t.Context(), c.bytes, &daemon.Options{Trace: &c.trace})
	checkErr(t, err)
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// during returns the trace of a piece of work, and the bytes that were sent in both directions.
func (c *conversation) during(work func(ctx context.Context, s *daemon.Conn)) (trace, client, server string) {
	c.trace.Reset()
	sent, received := c.bytes.sizes()
	work(c.t.Context(), c.conn)
	return plainTrace(c.trace.String()), dump(c.bytes.client.Bytes()[sent:]), dump(c.bytes.server.Bytes()[received:])
}

// stamp matches the beginning of a line of a trace: the time and the number of the connection.
var stamp = regexp.MustCompile(`(?m)^\S+ \d+ `)

func plainTrace(trace string) string { return stamp.ReplaceAllString(trace, "") }

func TestProtocolPage(t *testing.T) {
	mem := memstore.New(&memstore.Options{
		Now: func() time.Time { return time.Unix(1700000000, 0) },
		Build: func(ctx context.Context, s *memstore.Store, _ storepath.Path, d *derivation.Derivation) error {
			activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "saying hello"})
			return errBuild
		},
	})
	d := daemontest.New(t, &daemontest.Options{Store: mem, NixVersion: "2.34.8", NoFeatures: true})
	c := converse(t, d)
	handshakeTrace := plainTrace(c.trace.String())
	handshakeClient, handshakeServer := dump(c.bytes.client.Bytes()), dump(c.bytes.server.Bytes())

	var path storepath.Path
	var err error
	add, _, _ := c.during(func(ctx context.Context, s *daemon.Conn) {
		path, err = s.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		checkErr(t, err)
	})
	valid, validClient, validServer := c.during(func(ctx context.Context, s *daemon.Conn) {
		ok, err := s.IsValidPath(ctx, path)
		checkErr(t, err)
		if !ok {
			t.Error("the path is not valid")
		}
	})
	info, _, _ := c.during(func(ctx context.Context, s *daemon.Conn) {
		_, err := s.QueryPathInfo(ctx, path)
		checkErr(t, err)
	})
	drv, err := c.conn.AddTextToStore(t.Context(), "greeting.drv", greetingDrv(t), nil)
	checkErr(t, err)
	build, _, _ := c.during(func(ctx context.Context, s *daemon.Conn) {
		err := s.BuildPaths(ctx, []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}, store.BuildNormal)
		if err == nil || !strings.Contains(err.Error(), errBuild.Error()) {
			t.Errorf("the build ended with %v", err)
		}
	})
	check(t, "protocol.md", map[string]string{
		"operations":       operations(),
		"handshake":        handshakeTrace,
		"handshake-client": handshakeClient,
		"handshake-daemon": handshakeServer,
		"valid":            valid,
		"valid-client":     validClient,
		"valid-daemon":     validServer,
		"add":              add,
		"info":             info,
		"build":            build,
	})
}

// operations returns the table of operations.
func operations() string {
	params := protocol.Params{Version: protocol.MaxVersion, Dir: storeDir}
	lines := []string{"number\toperation\tsince\twho\tfollowed by\tfeature"}
	for _, o := range protocol.Operations() {
		since, body, feature := "", "", ""
		if o.Since != 0 {
			since = o.Since.String()
		}
		if o.Body != nil && o.Body(params) != protocol.NoBody {
			body = o.Body(params).String()
		}
		switch {
		case o.Feature != 0:
			feature = o.Feature.String()
		case o.Without != 0:
			feature = "not " + o.Without.String()
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s", o.Op, o.Name, since, o.Access, body, feature), "\t"))
	}
	return table(lines...)
}

type buildFailure struct{}

func (buildFailure) Error() string { return "builder failed with exit code 1" }

var errBuild = buildFailure{}
