package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/daemon"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// A behind is a daemon behind a proxy: a transport to a store in memory that trusts the proxy.
type behind struct {
	store store.Store
	serve func(net.Conn) // called instead of serving the store, unless nil

	mu    sync.Mutex
	conns []net.Conn
	asked []protocol.Request // the requests on all connections
	ended sync.WaitGroup
}

func (b *behind) String() string { return "the daemon behind" }

func (b *behind) Dial(context.Context) (net.Conn, error) {
	theirs, ours := net.Pipe()
	b.mu.Lock()
	b.conns = append(b.conns, theirs)
	b.mu.Unlock()
	b.ended.Go(func() {
		if b.serve != nil {
			b.serve(theirs)
			return
		}
		server.Serve(context.Background(), theirs, b.store, &server.Options{Trusted: true, Before: b.note})
	})
	return ours, nil
}

func (b *behind) note(_ context.Context, req protocol.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, req)
	return nil
}

// take returns the requests since the last call.
func (b *behind) take() []protocol.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

// die ends all connections.
func (b *behind) die() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, nc := range b.conns {
		nc.Close()
	}
	b.conns = nil
}

// proxy returns a pool of connections to the daemon. When the test ends, no connection may
// remain.
func (b *behind) proxy(t *testing.T) *daemon.Pool {
	t.Helper()
	pool, err := daemon.Open(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pool.Close()
		b.ended.Wait()
	})
	return pool
}

// A client that stops in the middle of an upload gets an error at once when the upstream daemon
// dies. Only one goroutine reads the rest of the upload.
func TestProxyUpstreamDiesDuringUpload(t *testing.T) {
	for _, op := range []string{"AddToStore", "AddToStoreNar", "AddMultipleToStore", "AddToStore, old"} {
		t.Run(op, func(t *testing.T) {
			b := &behind{store: memstore.New(nil)}
			opts := &server.Options{Trusted: true}
			if strings.HasSuffix(op, "old") {
				opts.Version = protocol.MakeVersion(20)
			}
			c := dial(t, b.proxy(t), opts)
			info, archive := importOf(t, "x")
			switch op {
			case "AddToStore", "AddToStore, old":
				c.send(&protocol.AddToStoreRequest{Name: "x", Method: storepath.NAR, Algorithm: nixhash.SHA256})
			case "AddToStoreNar":
				c.send(&protocol.AddToStoreNarRequest{Info: *info, DontCheckSigs: true})
			case "AddMultipleToStore":
				c.send(&protocol.AddMultipleToStoreRequest{DontCheckSigs: true})
				head, err := c.params.AppendPathInfo(wire.AppendUint64(nil, 2), info)
				if err != nil {
					t.Fatal(err)
				}
				archive = append(head, archive...)
			}
			half := archive[:len(archive)-20]
			if !strings.HasSuffix(op, "old") {
				half = append(wire.AppendUint64(nil, uint64(len(archive))), half...)
			}
			c.nc.Write(half)
			time.Sleep(50 * time.Millisecond) // until the daemon waits for the rest
			b.die()
			start := time.Now()
			err := c.messages()
			if err == nil || strings.HasPrefix(err.Error(), "lost") {
				t.Errorf("the client gets %v", err)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("the client got its error after %v", took)
			}
			if err := c.messages(); err == nil || !strings.HasPrefix(err.Error(), "lost") {
				t.Errorf("then the client gets %v instead of a hang-up", err)
			}
		})
	}
}

// hostileRequests are requests of an untrusted client that a daemon which trusts the proxy must
// not get.
func hostileRequests(t *testing.T) map[string]protocol.Request {
	info, _ := importOf(t, "x")
	ultimate := *info
	ultimate.Ultimate = true
	foreign := &derivation.Derivation{Dir: storepath.DefaultDir, Name: "d", Platform: "x", Builder: "/b"}
	foreign.Env.Set("out", string(absent))
	foreign.Outputs.Set("out", derivation.InputAddressedOutput(absent))
	deferred := &derivation.Derivation{Dir: storepath.DefaultDir, Name: "d", Platform: "x", Builder: "/b"}
	deferred.Outputs.Set("out", derivation.DeferredOutput())
	drv := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-d.drv")
	opaque := []derivation.DerivedPath{derivation.Opaque{Path: absent}}
	return map[string]protocol.Request{
		"AddToStore, repair":        &protocol.AddToStoreRequest{Name: "x", Method: storepath.NAR, Algorithm: nixhash.SHA256, Repair: true},
		"AddToStoreNar":             &protocol.AddToStoreNarRequest{Info: ultimate, Repair: true, DontCheckSigs: true},
		"AddMultipleToStore":        &protocol.AddMultipleToStoreRequest{Repair: true, DontCheckSigs: true},
		"BuildPaths, repair":        &protocol.BuildPathsRequest{Paths: opaque, Mode: store.BuildRepair},
		"BuildPathsResults, repair": &protocol.BuildPathsWithResultsRequest{Paths: opaque, Mode: store.BuildRepair},
		"BuildDerivation":           &protocol.BuildDerivationRequest{Path: drv, Derivation: foreign},
		"BuildDerivation, deferred": &protocol.BuildDerivationRequest{Path: drv, Derivation: deferred},
		"BuildDerivation, repair":   &protocol.BuildDerivationRequest{Path: drv, Derivation: foreign, Mode: store.BuildRepair},
		"AddPermRoot":               &protocol.AddPermRootRequest{Path: absent, Link: "/nix/var/nix/gcroots/x"},
		"RegisterDrvOutput":         &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{ID: store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}, Realisation: store.Realisation{OutPath: absent}}},
		"AddBuildLog":               &protocol.AddBuildLogRequest{Path: drv},
		"CollectGarbage":            &protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCDeleteSpecific, IgnoreLiveness: true, Paths: []storepath.Path{absent}}},
		"VerifyStore, repair":       &protocol.VerifyStoreRequest{CheckContents: true, Repair: true},
		"SetOptions": &protocol.SetOptionsRequest{UseSubstitutes: true, Overrides: map[string]string{
			"require-sigs": "false", "trusted-public-keys": "x:y", "extra-trusted-public-keys": "x:y", "sandbox": "false", "build-hook": "/x",
			"builders": "ssh://x", "substituters": "file:///x", "extra-substituters": "file:///x", "binary-caches": "file:///x", "trusted-substituters": "file:///x",
			"extra-sandbox-paths": "/etc", "post-build-hook": "/x", "timeout": "7", "diff-hook": "/x", "run-diff-hook": "true", "trusted-users": "*",
		}},
	}
}

// checkHarmless checks that the upstream daemon would also do a request for an untrusted user.
func checkHarmless(t *testing.T, name string, req protocol.Request) {
	t.Helper()
	bad := false
	switch req := req.(type) {
	case *protocol.AddToStoreRequest:
		bad = req.Repair
	case *protocol.AddToStoreNarRequest:
		bad = req.Repair || req.DontCheckSigs || req.Info.Ultimate
	case *protocol.AddMultipleToStoreRequest:
		bad = req.Repair || req.DontCheckSigs
	case *protocol.BuildPathsRequest:
		bad = req.Mode == store.BuildRepair
	case *protocol.BuildPathsWithResultsRequest:
		bad = req.Mode == store.BuildRepair
	case *protocol.VerifyStoreRequest:
		bad = req.Repair
	case *protocol.CollectGarbageRequest:
		bad = req.IgnoreLiveness
	case *protocol.AddPermRootRequest, *protocol.RegisterDrvOutputRequest, *protocol.AddBuildLogRequest, *protocol.BuildDerivationRequest:
		bad = true
	case *protocol.SetOptionsRequest:
		for name, value := range req.Overrides {
			bad = bad || name != "timeout" && value != ""
		}
	}
	if bad {
		t.Errorf("%s: the daemon behind was asked for %s %+v", name, req.Op(), req)
	}
}

// A request of an untrusted client reaches the upstream daemon without the parts that need
// trust, in every version of the client and of the daemon.
func TestProxyUntrusted(t *testing.T) {
	for _, version := range []uint8{18, 20, 21, 22, 23, 25, 31, 34, 35, 38} {
		b := &behind{store: memstore.New(nil)}
		pool := b.proxy(t)
		_, archive := importOf(t, "x")
		for name, req := range hostileRequests(t) {
			c := dial(t, pool, &server.Options{Version: protocol.MakeVersion(version)})
			if c.params.Check(req.Op()) != nil {
				continue
			}
			if _, err := c.params.AppendRequest(nil, req); err != nil {
				continue // not in this version
			}
			if c.params.Version >= protocol.MakeVersion(35) && c.greet.Trust != protocol.NotTrusted {
				t.Errorf("the server reports the trust level %v", c.greet.Trust)
			}
			body := archive
			if name == "AddMultipleToStore" {
				info, _ := importOf(t, "x")
				head, err := c.params.AppendPathInfo(wire.AppendUint64(nil, 1), info)
				if err != nil {
					t.Fatal(err)
				}
				body = append(head, archive...)
			}
			_, err := c.ask(req, body)
			if err == nil && name != "SetOptions" && name != "AddToStore, repair" {
				t.Errorf("1.%d: %s succeeded", version, name)
			}
			for _, came := range b.take() {
				checkHarmless(t, name, came)
			}
			c.hangUp()
		}
		info, _ := importOf(t, "x")
		if valid, err := b.store.IsValidPath(t.Context(), info.Path); valid || err != nil {
			t.Errorf("1.%d: an unsigned path is valid: %v", version, err)
		}
	}
}

// Settings of one client reach neither other clients nor other callers of the pool.
func TestProxySettingsAreSeparate(t *testing.T) {
	b := &behind{store: memstore.New(nil)}
	pool := b.proxy(t)
	first, second := dial(t, pool, &server.Options{Trusted: true}), dial(t, pool, &server.Options{Trusted: true})
	must[*protocol.None](first, &protocol.SetOptionsRequest{MaxBuildJobs: 77, Overrides: map[string]string{"sandbox": "false"}}, nil)
	must[*protocol.IsValidPathReply](second, &protocol.IsValidPathRequest{Path: absent}, nil)
	if _, err := pool.IsValidPath(t.Context(), absent); err != nil {
		t.Error(err)
	}
	set := 0
	for _, req := range b.take() {
		if _, ok := req.(*protocol.SetOptionsRequest); ok {
			set++
		}
	}
	if set != 1 {
		t.Errorf("%d connections got settings", set)
	}
}

// When the upstream daemon dies, the connections of idle clients are closed. A new client is
// connected to the restarted daemon.
func TestProxyUpstreamDies(t *testing.T) {
	b := &behind{store: memstore.New(nil)}
	pool := b.proxy(t)
	c := dial(t, pool, nil)
	b.die()
	if _, err := c.in.Uint64(); err != io.EOF {
		t.Errorf("the idle client reads %v", err)
	}
	if _, err := dial(t, pool, nil).ask(&protocol.IsValidPathRequest{Path: absent}, nil); err != nil {
		t.Errorf("a new client gets %v", err)
	}
}

// If a client hangs up while the upstream daemon does not answer, its upstream connection is
// closed.
func TestProxyClientGoes(t *testing.T) {
	for _, when := range []string{"handshake", "query", "upload"} {
		t.Run(when, func(t *testing.T) {
			gone := make(chan struct{}, 10)
			b := &behind{store: memstore.New(nil)}
			pool := b.proxy(t)
			b.serve = func(nc net.Conn) {
				defer func() { gone <- struct{}{} }()
				in := wire.NewReader(nc, 0)
				if when == "handshake" {
					in.Discard(1 << 40)
					return
				}
				p, err := protocol.ServerHandshake(in, nc, storepath.DefaultDir, protocol.Greeting{DaemonVersion: protocol.MaxVersion, Trust: protocol.Trusted}, 0)
				if err != nil {
					return
				}
				last, _ := p.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
				nc.Write(last)
				p.ReadRequest(in)
				if when == "upload" {
					time.Sleep(200 * time.Millisecond) // the daemon reads nothing
				}
				in.Discard(1 << 40)
			}
			c := connect(t, pool, nil)
			if when == "handshake" {
				go protocol.ClientHandshake(c.in, c.nc, storepath.DefaultDir)
			} else {
				var err error
				if c.params, c.greet, err = protocol.ClientHandshake(c.in, c.nc, storepath.DefaultDir); err != nil {
					t.Fatal(err)
				}
				if err := c.messages(); err != nil {
					t.Fatal(err)
				}
				if when == "query" {
					c.send(&protocol.IsValidPathRequest{Path: absent})
				} else {
					c.send(&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
					c.nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
					c.nc.Write(append(wire.AppendUint64(nil, 1<<20), make([]byte, 1<<20)...))
				}
			}
			time.Sleep(50 * time.Millisecond)
			done := make(chan error, 1)
			go func() { done <- c.hangUp() }()
			for range 2 {
				select {
				case <-gone:
					gone = nil
				case <-done:
					done = nil
				case <-time.After(time.Minute):
					t.Fatalf("ended: connection %v, client %v", gone != nil, done != nil)
				}
			}
		})
	}
}

// refusesArchives opens no archive. With the error it returns a nil pointer as reader, which no
// caller may use.
type refusesArchives struct{ store.Store }

func (refusesArchives) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	return (*os.File)(nil), errors.New("it was collected just now")
}

// If the archive of a valid path cannot be opened, only its client gets an error. The next
// requests get their own replies.
func TestProxyArchiveIsRefused(t *testing.T) {
	s, text, _ := newStore(t)
	refusing := refusesArchives{s}
	for name, served := range map[string]store.Store{"by a store": refusing, "by the daemon behind": (&behind{store: refusing}).proxy(t)} {
		c := dial(t, served, nil)
		for range 2 {
			if _, err := c.ask(&protocol.NarFromPathRequest{Path: text}, nil); err == nil || !strings.Contains(err.Error(), "collected") {
				t.Errorf("%s: %v", name, err)
			}
			if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil).Valid {
				t.Errorf("%s: the next request got a wrong reply", name)
			}
		}
		if err := c.hangUp(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
