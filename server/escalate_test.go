package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/storepath"
)

// An untrusted client of a server in front of a daemon that trusts the server tries every
// operation, with all flags and in all roles. It gets no more rights than an untrusted client
// of that daemon.
func TestProxyEscalation(t *testing.T) {
	t.Run("memory", func(t *testing.T) { escalate(t, daemontest.New(t, nil)) })
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		escalate(t, daemon.Unix{Path: realnix.Start(t, s, nil).Socket})
	})
}

func escalate(t *testing.T, up daemon.Transport) {
	var trace lockedBuffer
	pool := open(t, up, &daemon.Options{Trace: &trace, TraceBody: -1})
	info, err := pool.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Trust == protocol.NotTrusted {
		t.Skip("the daemon does not trust the user who runs the test")
	}
	direct := open(t, up, nil) // trusted
	text, err := store.AddText(t.Context(), direct, "good", "a good text", nil)
	if err != nil {
		t.Fatal(err)
	}
	drv, err := store.AddText(t.Context(), direct, "good.drv", goodDerivation(t).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	trace.Reset()

	link := t.TempDir() + "/evil-root"
	tried := make(map[protocol.Op]bool)
	for _, minor := range []uint8{38, 34, 24, 21, 18} { // versions with different forms of uploads
		for _, a := range attacks(t, text, drv, link) {
			c := dial(t, pool, &server.Options{Version: protocol.MakeVersion(minor), Substituters: []string{"https://good.example"}})
			if _, err := c.params.AppendRequest(nil, a.req); err != nil {
				continue
			}
			tried[a.req.Op()] = true
			reply, err := c.ask(a.req, a.body(c.params))
			if a.refused && err == nil {
				t.Errorf("1.%d: %s is answered: %+v", minor, a.req.Op(), reply)
			}
			c.hangUp()
		}
	}
	for _, row := range protocol.Operations() {
		lacks := row.Feature != 0 && info.Params.Check(row.Op) != nil // the proxy does not offer it in this case
		if protocol.BuildFeatures&row.Feature == 0 && !lacks && !tried[row.Op] {
			t.Errorf("%s was not called", row.Name)
		}
	}

	// Check the requests that have reached the daemon.
	arrived := make(map[protocol.Op]bool)
	for line := range strings.Lines(trace.String()) {
		_, line, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " → ")
		if !ok || strings.HasPrefix(line, "body") {
			continue
		}
		req, err := info.Params.ParseTraceRequest(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		arrived[req.Op()] = true
		if err := mayNotAsk(info.Params, req); err != nil {
			t.Errorf("%v reached the daemon: %s", err, line)
		}
	}
	for _, op := range []protocol.Op{protocol.AddToStore, protocol.AddToStoreNar, protocol.BuildPaths, protocol.SetOptions} {
		if !arrived[op] && info.Params.Check(op) == nil {
			t.Errorf("no %s reached the daemon, so the test proves nothing", op)
		}
	}

	// Check the state of the store.
	paths, err := store.AllValidPaths(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if strings.Contains(p.Name(), "evil") {
			t.Errorf("%s is valid", p)
		}
		if known, err := direct.QueryPathInfo(t.Context(), p); err != nil || known.Ultimate && !strings.HasPrefix(p.Name(), "good") {
			t.Errorf("%+v, %v", known, err)
		}
	}
	roots, err := direct.FindRoots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		if strings.Contains(r.Link, "evil") {
			t.Errorf("%+v is a root", r)
		}
	}
	if _, err := os.Lstat(link); err == nil {
		t.Error("a root was created")
	}
}

// An attack is a request, its body, and whether it must be refused.
type attack struct {
	req     protocol.Request
	refused bool
	body    func(protocol.Params) []byte
}

func noBody(protocol.Params) []byte { return nil }

// attacks returns requests of all operations. Paths that become valid if an attack succeeds
// have "evil" in their names.
func attacks(t testing.TB, text, drv storepath.Path, link string) []attack {
	evil, archive := importOf(t, "evil")
	evil.Ultimate = true
	evil.Signatures = []string{"evil-1:" + strings.Repeat("A", 86) + "=="}
	second, secondArchive := importOf(t, "evil-second", evil.Path)
	second.Ultimate = true
	nar := func(protocol.Params) []byte { return archive }
	many := func(p protocol.Params) []byte { return multiple(t, p, evil, archive, second, secondArchive) }
	// The frames contain bytes that are dangerous if a daemon reads them as requests: an upload
	// with all flags, and a root.
	smuggled := func(protocol.Params) []byte {
		p := protocol.Params{Version: protocol.MakeVersion(38), Dir: storepath.DefaultDir}
		b, err := p.AppendRequest(nil, &protocol.AddToStoreNarRequest{Info: *evil, DontCheckSigs: true, Repair: true})
		if err == nil {
			b, err = p.AppendRequest(b, &protocol.AddPermRootRequest{Path: text, Link: link})
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}
	opaque := []derivation.DerivedPath{derivation.Opaque{Path: text}, derivation.Opaque{Path: evil.Path}}
	id := store.DrvOutput{Path: drv, Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "evil"}
	settings := map[string]string{"sandbox": "false", "substituters": "https://evil.example https://good.example", "trusted-public-keys": "evil", "post-build-hook": "/evil", "builders": "ssh://evil", "require-sigs": "false", "timeout": "60", "poll-interval": "1", "extra-sandbox-paths": "/", "trusted-users": "*", "allowed-users": "*", "build-hook": "/evil", "plugin-files": "/evil", "experimental-features": "all", "netrc-file": "/evil", "secret-key-files": "/evil", "Timeout": "1", "extra-substituters": "https://good.example", "timeout ": "1", "max-silent-time": strings.Repeat("1", 1000)}
	wrong := wrongDerivation(t)
	path := func(d *derivation.Derivation) storepath.Path {
		p, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var l []attack
	add := func(refused bool, body func(protocol.Params) []byte, reqs ...protocol.Request) {
		for _, req := range reqs {
			l = append(l, attack{req, refused, body})
		}
	}
	add(false, noBody,
		&protocol.SetOptionsRequest{Overrides: settings}, &protocol.SetOptionsRequest{KeepFailed: true, TryFallback: true, MaxBuildJobs: 9, BuildCores: 9},
		&protocol.IsValidPathRequest{Path: evil.Path}, &protocol.QueryReferrersRequest{Path: text}, &protocol.QueryDeriverRequest{Path: text},
		&protocol.QueryValidPathsRequest{Paths: []storepath.Path{text}, Substitute: true}, &protocol.QueryAllValidPathsRequest{},
		&protocol.QueryPathInfoRequest{Path: text}, &protocol.QueryPathFromHashPartRequest{HashPart: text.HashPart()},
		&protocol.QuerySubstitutablePathInfoRequest{Path: text}, &protocol.QuerySubstitutablePathsRequest{Paths: []storepath.Path{text}},
		&protocol.QuerySubstitutablePathInfosRequest{Paths: map[storepath.Path]storepath.ContentAddress{text: {}}},
		&protocol.QueryDerivationOutputsRequest{Path: drv}, &protocol.QueryDerivationOutputNamesRequest{Path: drv}, &protocol.QueryDerivationOutputMapRequest{Path: drv},
		&protocol.QueryValidDeriversRequest{Path: text}, &protocol.QueryMissingRequest{Paths: all}, &protocol.QueryRealisationRequest{ID: id},
		&protocol.AddTempRootRequest{Path: text}, &protocol.AddTempRootsRequest{Paths: []storepath.Path{text}},
		new(protocol.QueryActiveBuildsRequest), &protocol.QueryPathInfosRequest{Paths: []storepath.Path{text, evil.Path}}, &protocol.AddIndirectRootRequest{Link: "/nowhere/good-root"}, &protocol.SyncWithGCRequest{},
		&protocol.FindRootsRequest{}, &protocol.OptimiseStoreRequest{}, &protocol.VerifyStoreRequest{CheckContents: true},
		&protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCReturnDead, MaxFreed: 1}},
		&protocol.AddSignaturesRequest{Path: text, Signatures: evil.Signatures},
		&protocol.AddTextToStoreRequest{Name: "good", Contents: "a good text"}, &protocol.EnsurePathRequest{Path: text}, &protocol.NarFromPathRequest{Path: text},
		&protocol.BuildPathsRequest{Paths: opaque[:1]}, &protocol.BuildPathsRequest{Paths: all, Mode: store.BuildCheck}, &protocol.BuildPathsWithResultsRequest{Paths: opaque[:1]},
		&protocol.BuildDerivationRequest{Path: evil.Path + ".drv", Derivation: newFixed(t)})
	add(true, noBody,
		&protocol.EnsurePathRequest{Path: evil.Path}, &protocol.BuildPathsRequest{Paths: opaque},
		&protocol.BuildPathsRequest{Paths: opaque[:1], Mode: store.BuildRepair}, &protocol.BuildPathsWithResultsRequest{Paths: opaque[:1], Mode: store.BuildRepair},
		&protocol.BuildDerivationRequest{Path: path(wrong), Derivation: wrong}, &protocol.BuildDerivationRequest{Path: path(newFixed(t)), Derivation: newFixed(t), Mode: store.BuildRepair},
		&protocol.AddPermRootRequest{Path: text, Link: link}, &protocol.VerifyStoreRequest{CheckContents: true, Repair: true},
		&protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCDeleteSpecific, IgnoreLiveness: true, Paths: []storepath.Path{text}}},
		&protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: text}}},
		&protocol.AddTextToStoreRequest{Name: "evil text", Contents: "x"})
	for _, flags := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		add(true, nar, &protocol.AddToStoreNarRequest{Info: *evil, Repair: flags[0], DontCheckSigs: flags[1]})
		add(true, many, &protocol.AddMultipleToStoreRequest{Repair: flags[0], DontCheckSigs: flags[1]})
		add(true, smuggled, &protocol.AddToStoreNarRequest{Info: *evil, Repair: flags[0], DontCheckSigs: flags[1]}, &protocol.AddMultipleToStoreRequest{Repair: flags[0], DontCheckSigs: flags[1]})
	}
	for _, drvPath := range []storepath.Path{drv, text + ".drv"} {
		add(true, smuggled, &protocol.AddBuildLogRequest{Path: drvPath})
	}
	add(false, smuggled, &protocol.AddToStoreRequest{Name: "good-contents", Method: storepath.Flat, Algorithm: nixhash.SHA256, Repair: true})
	add(false, nar, &protocol.AddToStoreRequest{Name: "good-tree", Method: storepath.NAR, Algorithm: nixhash.SHA256, Repair: true})
	add(true, smuggled, &protocol.AddToStoreRequest{Name: "evil tree", Method: storepath.NAR, Algorithm: nixhash.SHA256})
	return l
}

// goodDerivation returns a derivation with a correct output path.
func goodDerivation(t testing.TB) *derivation.Derivation {
	t.Helper()
	d := &derivation.Derivation{
		Name: "good", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh",
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()}),
		Env:     derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
		Args:    []string{"-c", "echo good > $out"},
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// wrongDerivation returns a derivation with the output path of another derivation.
func wrongDerivation(t testing.TB) *derivation.Derivation {
	t.Helper()
	evil, _ := importOf(t, "evil")
	d := goodDerivation(t)
	d.Name = "evil"
	d.Outputs.Set("out", derivation.InputAddressedOutput(evil.Path))
	d.Env.Set("out", string(evil.Path))
	return d
}

// mayNotAsk returns why a server must not forward the request of an untrusted client to a
// daemon that trusts the server.
func mayNotAsk(p protocol.Params, req protocol.Request) error {
	if p.NeedsTrust(req) {
		return errors.New("a request of trusted clients in this version")
	}
	repairs, unsigned, ultimate := false, false, false
	switch r := req.(type) {
	case *protocol.AddPermRootRequest, *protocol.AddBuildLogRequest, *protocol.RegisterDrvOutputRequest:
		return errors.New("an operation for trusted clients")
	case *protocol.AddToStoreRequest:
		repairs = r.Repair
	case *protocol.AddToStoreNarRequest:
		repairs, unsigned, ultimate = r.Repair, r.DontCheckSigs, r.Info.Ultimate
	case *protocol.AddMultipleToStoreRequest:
		repairs, unsigned = r.Repair, r.DontCheckSigs
	case *protocol.BuildPathsRequest:
		repairs = r.Mode == store.BuildRepair
	case *protocol.BuildPathsWithResultsRequest:
		repairs = r.Mode == store.BuildRepair
	case *protocol.VerifyStoreRequest:
		repairs = r.Repair
	case *protocol.CollectGarbageRequest:
		if r.IgnoreLiveness {
			return errors.New("ignoring liveness")
		}
	case *protocol.BuildDerivationRequest:
		repairs = r.Mode == store.BuildRepair
		if kind, err := r.Derivation.Kind(); err != nil || kind == derivation.InputAddressed || kind == derivation.Deferred {
			return fmt.Errorf("an input-addressed derivation (%v)", err)
		}
		if own, err := r.Derivation.Path(); err != nil || own != r.Path {
			return fmt.Errorf("a derivation under a path of another, not %s (%v)", own, err)
		}
	case *protocol.SetOptionsRequest:
		return mayNotSet(p, r.Overrides)
	}
	switch {
	case repairs:
		return errors.New("repair")
	case unsigned:
		return errors.New("an upload without signatures")
	case ultimate:
		return errors.New("an upload that claims to be built here")
	}
	return nil
}

func mayNotSet(p protocol.Params, overrides map[string]string) error {
	allowed := map[string]string{"timeout": "60", "substituters": "https://good.example"}
	if p.Version >= protocol.MakeVersion(35) {
		allowed["poll-interval"] = "1"
	}
	for name, value := range overrides {
		if want, ok := allowed[name]; !ok || value != want {
			return fmt.Errorf("the setting %s = %.80q", name, value)
		}
	}
	return nil
}

// A lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
