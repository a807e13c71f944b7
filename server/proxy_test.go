package server_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A proxiedRecorder is a daemon that records its requests.
type proxiedRecorder struct {
	*daemontest.Daemon
	mu    sync.Mutex
	asked []protocol.Request
}

// record starts a daemon that records its requests.
func record(t testing.TB, opts daemontest.Options) *proxiedRecorder {
	t.Helper()
	r := new(proxiedRecorder)
	fail := opts.Faults.Fail
	opts.Faults.Fail = func(n int, req protocol.Request) error {
		r.mu.Lock()
		r.asked = append(r.asked, req)
		r.mu.Unlock()
		if fail != nil {
			return fail(n, req)
		}
		return nil
	}
	r.Daemon = daemontest.New(t, &opts)
	return r
}

// requests returns the requests since the last call, without the requests of the pool itself.
func (r *proxiedRecorder) requests() (asked []protocol.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked, r.asked = r.asked, nil
	return asked
}

// open opens a pool of connections to a daemon.
func open(t testing.TB, d daemon.Transport, opts *daemon.Options) *daemon.Pool {
	t.Helper()
	pool, err := daemon.Open(t.Context(), d, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

// A server in front of another daemon returns the same replies as that daemon.
func TestProxyEveryOperation(t *testing.T) {
	for minor := uint8(18); minor <= 38; minor++ {
		for _, plain := range []bool{false, true} {
			if plain && minor < 38 {
				continue
			}
			t.Run(fmt.Sprintf("1.%d,plain=%v", minor, plain), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				behind := protocol.Params{Version: protocol.MakeVersion(minor), Dir: storepath.DefaultDir}
				if !plain && minor == 38 {
					behind.Features = protocol.AllFeatures
				}
				up := daemontest.New(t, &daemontest.Options{Store: w.s, Version: behind.Version, NoFeatures: plain})
				c := dial(t, open(t, up, nil), trusted)
				if c.params.Features != behind.Features {
					t.Errorf("the features are %s, want %s", c.params.Features, behind.Features)
				}
				askEverything(t, w, c, behind)
			})
		}
	}
}

// A client is trusted if both daemons trust it. An unknown trust level is passed on.
func TestProxyTrust(t *testing.T) {
	for _, c := range []struct {
		server, upstream bool
		version          protocol.Version
		want             protocol.Trust
		privileged       bool
	}{
		{true, true, 0, protocol.Trusted, true},
		{true, false, 0, protocol.NotTrusted, false},
		{false, true, 0, protocol.NotTrusted, false},
		{false, false, 0, protocol.NotTrusted, false},
		{true, true, protocol.MakeVersion(34), protocol.TrustUnknown, true},
		{true, false, protocol.MakeVersion(34), protocol.TrustUnknown, true}, // the daemon enforces its own trust
		{false, true, protocol.MakeVersion(34), protocol.NotTrusted, false},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			up := record(t, daemontest.Options{Untrusted: !c.upstream, Version: c.version})
			conn := dial(t, open(t, up, nil), &server.Options{Trusted: c.server})
			if conn.greet.Trust != c.want {
				t.Errorf("the client is %s, want %s", conn.greet.Trust, c.want)
			}
			object, archive := importOf(t, "x")
			object.Ultimate = true
			conn.ask(&protocol.AddToStoreNarRequest{Info: *object, DontCheckSigs: true, Repair: true}, archive)
			asked := up.requests()
			i := slices.IndexFunc(asked, func(r protocol.Request) bool { return r.Op() == protocol.AddToStoreNar })
			if i < 0 {
				t.Fatal("the daemon did not get the upload")
			}
			want := c.privileged && c.upstream // a daemon that does not trust the proxy removes the flags before it records the request
			if got := asked[i].(*protocol.AddToStoreNarRequest); got.DontCheckSigs != want || got.Repair != want || got.Info.Ultimate != want {
				t.Errorf("the daemon got %+v", got)
			}
		})
	}
}

// Each change of a client's settings reaches the daemon, without restricted settings. Before,
// the settings of the pool apply.
func TestProxySettings(t *testing.T) {
	for _, isTrusted := range []bool{true, false} {
		up := record(t, daemontest.Options{})
		pool := open(t, up, &daemon.Options{Settings: &daemon.Settings{BuildCores: 3}})
		up.requests()
		c := dial(t, pool, &server.Options{Trusted: isTrusted, Substituters: []string{"https://a.example"}})
		set := &protocol.SetOptionsRequest{KeepGoing: true, MaxBuildJobs: 7, Verbosity: activity.LevelDebug, Overrides: map[string]string{
			"timeout": "5", "builders": "", "sandbox": "false", "post-build-hook": "/evil", "substituters": "https://a.example https://evil.example",
			"trusted-public-keys": "evil", "require-sigs": "false", "experimental-features": "all", "plugin-files": "/evil",
		}}
		must[*protocol.None](c, set, nil)
		warnings := len(c.events)
		must[*protocol.None](c, &protocol.SetOptionsRequest{BuildCores: 2}, nil)
		want := []protocol.Request{
			&protocol.SetOptionsRequest{BuildCores: 3},
			&protocol.SetOptionsRequest{KeepGoing: true, MaxBuildJobs: 7, Verbosity: activity.LevelDebug, Overrides: map[string]string{
				"timeout": "5", "builders": "", "substituters": "https://a.example",
			}},
			&protocol.SetOptionsRequest{BuildCores: 2},
		}
		if isTrusted {
			overrides := maps.Clone(set.Overrides)
			delete(overrides, "experimental-features") // ignored by every daemon
			delete(overrides, "plugin-files")
			want[1].(*protocol.SetOptionsRequest).Overrides = overrides
		}
		if (warnings == 0) != isTrusted {
			t.Errorf("trusted %v: %d warnings", isTrusted, warnings)
		}
		got := up.requests()
		for _, r := range append(got, want...) {
			if s := r.(*protocol.SetOptionsRequest); len(s.Overrides) == 0 {
				s.Overrides = nil
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("trusted %v: the daemon got %+v", isTrusted, got)
			for _, r := range got {
				t.Logf("%+v", r)
			}
		}
	}
}

// If the upstream daemon identifies derivations by path, a client that has only the hash gets
// an error.
func TestProxyWithoutFeature(t *testing.T) {
	up := record(t, daemontest.Options{})
	c := dial(t, open(t, up, nil), &server.Options{Trusted: true, NoFeatures: true})
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}
	const why = "the daemon is missing the 'realisation-with-path-not-hash' protocol feature, needed to support content-addressing derivations"
	for _, req := range []protocol.Request{
		&protocol.QueryRealisationRequest{ID: id},
		&protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: absent}}},
	} {
		if _, err := c.ask(req, nil); err == nil || err.Error() != why {
			t.Errorf("%s: %v", req.Op(), err)
		}
	}
	if asked := up.requests(); len(asked) != 0 {
		t.Errorf("the daemon got %v", asked)
	}
}

// Every line and activity reaches the client unchanged and in order, even if the client reads
// slowly: in builds and in queries.
func TestProxyEvents(t *testing.T) {
	const n = 16000 // about 8 MB, more than all buffers together
	event := func(i int) activity.Event {
		switch i % 4 {
		case 0:
			return activity.Start{ID: activity.ID(1<<40 + i), Level: activity.LevelInfo, Type: activity.Build, Text: "building", Fields: []activity.Field{activity.Text("/nix/store/x.drv")}, Parent: 7}
		case 1:
			return activity.Result{ID: activity.ID(1<<40 + i - 1), Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(strings.Repeat("x", 1000))}}
		case 2:
			return activity.Stop{ID: activity.ID(1<<40 + i - 2)}
		}
		return activity.Log{Text: fmt.Sprintf("line %d %s", i, strings.Repeat("y", 1000))}
	}
	emit := func(ctx context.Context) {
		for i := range n {
			activity.HandlerOf(ctx).HandleEvent(event(i))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		up := daemontest.New(t, &daemontest.Options{Store: talker{memstore.New(nil), emit}})
		pool, err := daemon.Open(t.Context(), up, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		c := dial(t, pool, trusted)
		defer c.hangUp()
		for _, req := range []protocol.Request{
			&protocol.BuildPathsRequest{Paths: []derivation.DerivedPath{derivation.Opaque{Path: absent}}},
			&protocol.IsValidPathRequest{Path: absent},
		} {
			c.send(req)
			synctest.Wait() // everything waits for the client
			if err := c.messages(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.reply(req.Op()); err != nil {
				t.Fatal(err)
			}
			if len(c.events) != n {
				t.Fatalf("%s: got %d events instead of %d", req.Op(), len(c.events), n)
			}
			for i, e := range c.events {
				if !reflect.DeepEqual(e, event(i)) {
					t.Fatalf("%s: event %d is %+v", req.Op(), i, e)
				}
			}
		}
	})
}

// A talker is a store that reports many events.
type talker struct {
	*memstore.Store
	emit func(context.Context)
}

func (s talker) Session(context.Context) (store.Store, error) { return unclosed{s}, nil }

func (s talker) BuildPaths(ctx context.Context, _ []derivation.DerivedPath, _ store.BuildMode) error {
	s.emit(ctx)
	return nil
}

func (s talker) IsValidPath(ctx context.Context, _ storepath.Path) (bool, error) {
	s.emit(ctx)
	return false, nil
}

type unclosed struct{ talker }

func (unclosed) Close() error { return nil }

// A wrapper of a daemon's store with its own sessions is not bypassed.
func TestProxyWrapped(t *testing.T) {
	up := record(t, daemontest.Options{})
	w := wrapper{open(t, up, nil), new(int)}
	must[*protocol.IsValidPathReply](dial(t, w, trusted), &protocol.IsValidPathRequest{Path: absent}, nil)
	if *w.asked != 1 {
		t.Errorf("the wrapper was called %d times", *w.asked)
	}
}

type wrapper struct {
	store.Store
	asked *int
}

func (w wrapper) Unwrap() store.Store                          { return w.Store }
func (w wrapper) Session(context.Context) (store.Store, error) { return w, nil }
func (w wrapper) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	*w.asked++
	return w.Store.IsValidPath(ctx, path)
}

// A server in front of a daemon on the same machine can create permanent roots with its own
// rights. It needs only to trust the client itself.
func TestProxyLocalRoots(t *testing.T) {
	up := record(t, daemontest.Options{Untrusted: true})
	path, err := store.AddText(t.Context(), up.Store, "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := open(t, up, nil)
	link := filepath.Join(t.TempDir(), "link")
	req := &protocol.AddPermRootRequest{Path: path, Link: link}

	c := dial(t, pool, &server.Options{Trusted: true})
	if _, err := c.ask(req, nil); err == nil {
		t.Error("a root was created for an untrusted client")
	}
	c = dial(t, pool, &server.Options{LocalRoots: true})
	if _, err := c.ask(req, nil); err == nil {
		t.Error("a root was created for a client that only the daemon trusts")
	}
	c = dial(t, pool, &server.Options{Trusted: true, LocalRoots: true})
	if c.greet.Trust != protocol.NotTrusted {
		t.Errorf("the client is %s", c.greet.Trust)
	}
	reply := must[*protocol.AddPermRootReply](c, req, nil)
	if target, err := os.Readlink(link); reply.Link != link || target != string(path) || err != nil {
		t.Errorf("%s leads to %q, %v", reply.Link, target, err)
	}
	for _, r := range up.requests() {
		if r.Op() == protocol.AddPermRoot {
			t.Error("the daemon was asked to create the root")
		}
	}
}
