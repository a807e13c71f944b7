package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

var trusted = &server.Options{Trusted: true}

// refused checks that an error comes twice and is followed by a hang-up.
func (c *client) refused(why string) {
	c.t.Helper()
	for range 2 {
		m, err := c.params.ReadMessage(c.in)
		if err != nil || m.Kind != protocol.MessageError || !strings.Contains(m.Err.Message, why) {
			c.t.Errorf("%+v, %v; want the error %q", m, err, why)
		}
	}
	if err := c.in.Peek(); err != io.EOF {
		c.t.Errorf("after the error: %v, want the end", err)
	}
}

func TestUnreadableRequest(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		why  string
	}{
		"unknown operation":  {wire.AppendUint64(nil, 5), "invalid operation"},
		"during a build":     {wire.AppendUint64(nil, uint64(protocol.SubmitOutput)), "invalid operation"},
		"foreign store path": {wire.AppendString(wire.AppendUint64(nil, 1), "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"), "/gnu/store"},
		"no store path":      {wire.AppendString(wire.AppendUint64(nil, 1), "/nix/store/x"), "/nix/store/x"},
		"absurd length":      {wire.AppendUint64(wire.AppendUint64(nil, 1), 1<<62), "limit"},
		"absurd list":        {wire.AppendUint64(wire.AppendUint64(nil, 31), 1<<62), "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := newStore(t)
			c, conn := c, dial(t, s, trusted)
			conn.nc.Write(c.sent)
			conn.refused(c.why)
			if err := conn.hangUp(); err == nil {
				t.Error("Serve returned no error")
			}
		})
	}
}

func TestGreeting(t *testing.T) {
	s, _, _ := newStore(t)
	for _, opts := range []*server.Options{nil, {Trusted: true, NixVersion: "2.99"}} {
		c := dial(t, s, opts)
		wantTrust, wantVersion := protocol.NotTrusted, "2.34.8-pix"
		if opts != nil {
			wantTrust, wantVersion = protocol.Trusted, opts.NixVersion
		}
		if c.greet.Trust != wantTrust || c.greet.NixVersion != wantVersion || c.params.Version != protocol.MaxVersion || c.params.Features != protocol.AllFeatures {
			t.Errorf("%+v, %+v", c.greet, c.params)
		}
	}
}

// A client of a proxy is not trusted if the upstream daemon does not trust the proxy.
type distrusted struct{ store.Store }

func (distrusted) Trust() protocol.Trust { return protocol.NotTrusted }

func TestTrustOfTheStore(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, distrusted{s}, trusted)
	if c.greet.Trust != protocol.NotTrusted {
		t.Errorf("%s", c.greet.Trust)
	}
	c.send(&protocol.AddPermRootRequest{Path: text, Link: "/x"})
	c.refused("you are not privileged to create perm roots")
}

func TestUntrustedIsRefusedBeforeWork(t *testing.T) {
	s, text, _ := newStore(t)
	paths := []derivation.DerivedPath{derivation.Opaque{Path: text}}
	for _, req := range []protocol.Request{
		&protocol.BuildPathsRequest{Paths: paths, Mode: store.BuildRepair},
		&protocol.BuildPathsWithResultsRequest{Paths: paths, Mode: store.BuildRepair},
	} {
		c := dial(t, s, nil)
		c.send(req)
		c.refused("repairing is not allowed because you are not in 'trusted-users'")
	}
	c := dial(t, s, nil)
	c.send(&protocol.AddPermRootRequest{Path: text, Link: "/x"})
	c.refused("you are not privileged to create perm roots")
}

// A forbidden request of an untrusted client is an error, and the connection stays in step.
func TestUntrustedIsRefusedDuringWork(t *testing.T) {
	w := newWorld(t)
	object, archive := importOf(t, "unsigned")
	object.Ultimate = true
	for _, minor := range []uint8{22, 38} {
		c := dial(t, w.s, &server.Options{Version: protocol.MakeVersion(minor)})
		for _, q := range []question{
			{req: &protocol.AddToStoreNarRequest{Info: *object, DontCheckSigs: true}, body: archive, fails: "lacks a signature by a trusted key"},
			{req: &protocol.AddMultipleToStoreRequest{DontCheckSigs: true}, body: multiple(t, c.params, object, archive), fails: "lacks a signature by a trusted key"},
			{req: &protocol.AddBuildLogRequest{Path: w.drv}, body: make([]byte, 1<<20), fails: "you are not privileged to add logs"},
			{req: &protocol.BuildDerivationRequest{Path: w.drv, Derivation: w.derivation}, fails: "you are not privileged to build input-addressed derivations"},
			{req: &protocol.VerifyStoreRequest{Repair: true}, fails: "you are not privileged to repair paths"},
			{req: &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{
				ID:          store.DrvOutput{Path: w.drv, Output: "out"},
				Realisation: store.Realisation{OutPath: w.text},
			}}, fails: "you are not a trusted user"},
		} {
			if c.params.Check(q.req.Op()) != nil {
				continue
			}
			if _, err := c.ask(q.req, q.body); err == nil || !strings.Contains(err.Error(), q.fails) {
				t.Errorf("%s in %s: %v, want %q", q.req.Op(), c.params.Version, err, q.fails)
			}
			if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: w.text}, nil).Valid {
				t.Fatalf("after %s the connection is out of step", q.req.Op())
			}
		}
		if must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: object.Path}, nil).Valid {
			t.Error("an unsigned object was accepted")
		}
	}
}

func TestUntrustedMayAddSignedObjects(t *testing.T) {
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New(&memstore.Options{TrustedKeys: signature.NewKeySet(key.Public())})
	c := dial(t, s, nil)
	object, archive := importOf(t, "signed")
	object.Ultimate = true
	if err := object.Sign(key); err != nil {
		t.Fatal(err)
	}
	must[*protocol.None](c, &protocol.AddToStoreNarRequest{Info: *object}, archive)
	info, err := s.QueryPathInfo(t.Context(), object.Path)
	if err != nil || info.Ultimate {
		t.Errorf("%+v, %v: an untrusted client has set Ultimate", info, err)
	}
}

// An object with a weak content address and without a signature is accepted only from a trusted
// client.
func TestWeakContentAddress(t *testing.T) {
	src := memstore.New(nil)
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, nil), "self")
	if err != nil {
		t.Fatal(err)
	}
	archive := fileNAR("I am " + string(path))
	self := &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: []storepath.Path{path},
	}
	if err := src.AddToStoreNAR(t.Context(), self, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	made, err := store.MakeContentAddressed(t.Context(), src, src, []storepath.Path{path}, store.Rules234)
	if err != nil {
		t.Fatal(err)
	}
	object, err := src.QueryPathInfo(t.Context(), made[path])
	if err != nil {
		t.Fatal(err)
	}
	r, err := src.NARFromPath(t.Context(), object.Path)
	if err != nil {
		t.Fatal(err)
	}
	if archive, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{false, true} {
		c := dial(t, memstore.New(nil), &server.Options{Trusted: trusted})
		_, err := c.ask(&protocol.AddToStoreNarRequest{Info: *object}, archive)
		if taken := err == nil; taken != trusted {
			t.Errorf("trusted: %v, accepted: %v (%v)", trusted, taken, err)
		}
	}
}

// The keys that a trusted client sets apply to its uploads instead of the keys of the store.
func TestKeysOfTrustedClient(t *testing.T) {
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := signature.GenerateKey("other-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		trusted, sets bool
		keys          signature.KeySet
		sign          signature.SecretKey
		taken         bool
	}{
		"its key":                   {true, true, signature.NewKeySet(other.Public()), other, true},
		"its key, nothing set":      {true, false, signature.NewKeySet(other.Public()), other, false},
		"the store's":               {true, true, signature.NewKeySet(other.Public()), key, false},
		"no keys":                   {true, true, signature.KeySet{}, key, false},
		"none of its own":           {true, true, nil, key, true},
		"a client without trust":    {false, true, signature.NewKeySet(other.Public()), other, false},
		"the store's without trust": {false, true, signature.NewKeySet(other.Public()), key, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(&memstore.Options{TrustedKeys: signature.NewKeySet(key.Public())})
			conn := dial(t, s, &server.Options{Trusted: c.trusted, TrustedKeys: func(set *protocol.SetOptionsRequest) (signature.KeySet, error) {
				return c.keys, nil
			}})
			if c.sets {
				must[*protocol.None](conn, &protocol.SetOptionsRequest{Overrides: map[string]string{"trusted-public-keys": "…"}}, nil)
			}
			object, archive := importOf(t, "signed")
			if err := object.Sign(c.sign); err != nil {
				t.Fatal(err)
			}
			_, err := conn.ask(&protocol.AddToStoreNarRequest{Info: *object}, archive)
			if taken := err == nil; taken != c.taken {
				t.Errorf("accepted: %v (%v)", taken, err)
			}
		})
	}
}

func TestUntrustedBuildOfFixedOutput(t *testing.T) {
	var built storepath.Path
	s := memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
		built = path
		_, err := s.AddToStore(ctx, d.Name, storepath.Flat, nixhash.SHA256, nil, strings.NewReader("x"), nil)
		return err
	}})
	d := newFixed(t)
	own, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, nil)
	claimed := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-fixed.drv")
	reply := must[*protocol.BuildDerivationReply](c, &protocol.BuildDerivationRequest{Path: claimed, Derivation: d}, nil)
	if reply.Result.Status != store.Built || built != own {
		t.Errorf("%+v, built as %s, want %s", reply.Result, built, own)
	}
	if out := reply.Result.Outputs["out"].OutPath; out == "" {
		t.Error("the reply does not have the output")
	}
}

func TestSettings(t *testing.T) {
	var got []*protocol.SetOptionsRequest
	s, text, _ := newStore(t)
	for _, trust := range []bool{false, true} {
		c := dial(t, s, &server.Options{Trusted: trust, Substituters: []string{"https://a.example/", "file:///b"}, Before: func(ctx context.Context, req protocol.Request) error {
			if req.Op() == protocol.IsValidPath {
				got = append(got, server.SettingsOf(ctx))
			}
			return nil
		}})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		must[*protocol.None](c, &protocol.SetOptionsRequest{MaxSilentTime: 7, Overrides: map[string]string{
			"timeout": "5", "builders": "", "sandbox": "false", "substituters": "file:///b https://evil.example https://a.example file:///b", "plugin-files": "evil.so", "experimental-features": "all",
		}}, nil)
		var warnings []string
		for _, e := range c.events {
			warnings = append(warnings, e.(activity.Log).Text)
		}
		if want := 2; !trust && (len(warnings) != want || !strings.Contains(warnings[1], "untrusted substituter 'https://evil.example', you") || !strings.Contains(warnings[0], "ignoring the client-specified setting 'sandbox', because it is a restricted setting and you are not a trusted user")) {
			t.Errorf("warnings: %q", warnings)
		} else if trust && len(warnings) != 0 {
			t.Errorf("warnings to a trusted user: %q", warnings)
		}
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
	}
	if chosen := got[1].Overrides["substituters"]; chosen != "file:///b https://a.example" {
		t.Errorf("an untrusted client has chosen %q", chosen)
	}
	for i, want := range []int{-1, 3, -1, 4} {
		if got[i] == nil && want >= 0 || got[i] != nil && (len(got[i].Overrides) != want || got[i].MaxSilentTime != 7) {
			t.Errorf("settings %d: %+v, want %d overrides", i, got[i], want)
		}
	}
}

func TestCensoredRoots(t *testing.T) {
	s, text, _ := newStore(t)
	if err := s.AddTempRoot(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	links := func(opts *server.Options) (links []string) {
		c := dial(t, s, opts)
		for _, root := range must[*protocol.FindRootsReply](c, &protocol.FindRootsRequest{}, nil).Roots {
			links = append(links, root.Link)
		}
		return links
	}
	if got := links(nil); !slices.Equal(got, []string{"{censored}"}) {
		t.Errorf("%q", got)
	}
	if got := links(trusted); !slices.Equal(got, []string{"{temp}"}) {
		t.Errorf("%q", got)
	}
}

// Temporary roots and added objects are protected as long as the connection exists.
func TestTempRootsEndWithTheConnection(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, trusted)
	must[*protocol.Ack](c, &protocol.AddTempRootRequest{Path: text}, nil)
	dead := func() []string {
		result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnDead})
		if err != nil {
			t.Fatal(err)
		}
		return result.Paths
	}
	if slices.Contains(dead(), string(text)) {
		t.Error("an object with a temporary root was collected")
	}
	c.hangUp()
	if !slices.Contains(dead(), string(text)) {
		t.Error("a temporary root outlives its connection")
	}
}

// A bare store has only the required methods of a store.
type bare struct{ s store.Store }

func (b bare) Dir() storepath.Dir { return b.s.Dir() }
func (b bare) IsValidPath(ctx context.Context, p storepath.Path) (bool, error) {
	return b.s.IsValidPath(ctx, p)
}
func (b bare) QueryValidPaths(ctx context.Context, p []storepath.Path, substitute bool) ([]storepath.Path, error) {
	return b.s.QueryValidPaths(ctx, p, substitute)
}
func (b bare) QueryPathInfo(ctx context.Context, p storepath.Path) (*store.PathInfo, error) {
	return b.s.QueryPathInfo(ctx, p)
}
func (b bare) Close() error { return nil }

// For an operation that the store does not have, the client gets an error of the work, or the
// reply of such a store.
func TestBareStore(t *testing.T) {
	w := newWorld(t)
	w.s = bare{w.s}
	c := dial(t, w.s, trusted)
	answered := make(map[protocol.Op]bool)
	for _, q := range w.questions(t, c.params) {
		_, err := c.ask(q.req, q.body)
		var said *activity.Error
		if err != nil && !errors.As(err, &said) {
			t.Fatalf("%s: %v", q.req.Op(), err)
		}
		if err == nil {
			answered[q.req.Op()] = true
		}
		if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: w.text}, nil).Valid {
			t.Fatalf("after %s the connection is out of step", q.req.Op())
		}
	}
	for _, op := range []protocol.Op{
		protocol.IsValidPath, protocol.QueryPathInfo, protocol.QueryValidPaths, protocol.QueryDeriver, protocol.QueryValidDerivers,
		protocol.QuerySubstitutablePaths, protocol.QuerySubstitutablePathInfo, protocol.QuerySubstitutablePathInfos, protocol.QueryRealisation,
		protocol.QueryPathInfos, protocol.EnsurePath, protocol.BuildPaths, protocol.AddTempRoot, protocol.AddTempRoots, protocol.SyncWithGC, protocol.OptimiseStore, protocol.VerifyStore, protocol.SetOptions,
	} {
		if !answered[op] {
			t.Errorf("%s got an error", op)
		}
		delete(answered, op)
	}
	if len(answered) > 0 {
		t.Errorf("a bare store has answered %v", answered)
	}
}

func TestErrorOfAnotherDaemonIsPassedOn(t *testing.T) {
	s, text, _ := newStore(t)
	theirs := &activity.Error{Level: activity.LevelWarn, Message: "\x1b[31mno\x1b[0m", Traces: []string{"while trying"}}
	c := dial(t, s, &server.Options{Before: func(context.Context, protocol.Request) error { return fmt.Errorf("asking: %w", theirs) }})
	_, err := c.ask(&protocol.IsValidPathRequest{Path: text}, nil)
	var said *activity.Error
	if !errors.As(err, &said) || said.Message != theirs.Message || said.Level != theirs.Level || !slices.Equal(said.Traces, theirs.Traces) {
		t.Errorf("%+v", said)
	}
}

// Events of the store come before the reply, in every version. Events after the work are
// dropped.
func TestEvents(t *testing.T) {
	s, text, _ := newStore(t)
	events := []activity.Event{
		activity.Log{Text: "hello"},
		activity.Start{ID: 1, Type: activity.Build, Text: "building", Fields: []activity.Field{activity.Text("x"), activity.Number(1)}},
		activity.Result{ID: 1, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("line")}},
		activity.Stop{ID: 1},
	}
	for minor, want := range map[uint8]int{19: 2, 20: 4, 38: 4} {
		var h activity.Handler
		c := dial(t, s, &server.Options{Version: protocol.MakeVersion(minor), Before: func(ctx context.Context, _ protocol.Request) error {
			if h == nil {
				h = activity.HandlerOf(ctx)
			}
			for _, e := range events {
				h.HandleEvent(e)
			}
			return nil
		}})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		if len(c.events) != want {
			t.Errorf("1.%d: %v", minor, c.events)
		}
		h.HandleEvent(activity.Log{Text: "too late"})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		if len(c.events) != want {
			t.Errorf("1.%d, second request: %v", minor, c.events)
		}
	}
}

// A damaged store returns archives that end with an error.
type damaged struct{ *memstore.Store }

func (d damaged) Session(context.Context) (store.Store, error) { return d, nil }

func (d damaged) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	archive, err := d.Store.NARFromPath(ctx, path)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(archive, failing{}), archive}, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is damaged") }

// A damaged archive is never sent completely.
func TestDamagedArchive(t *testing.T) {
	s := memstore.New(nil)
	for _, size := range []int{10, 64 << 10, 1 << 20} {
		path, err := s.AddTextToStore(t.Context(), "x", strings.Repeat("x", size), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, damaged{s}, trusted)
		must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
		all, err := io.ReadAll(c.in)
		if err != nil {
			t.Fatal(err)
		}
		whole := fileNAR(strings.Repeat("x", size))
		if bytes.Contains(all, whole) || !bytes.Contains(all, []byte("the disk is damaged")) {
			t.Errorf("got %d of %d bytes", len(all), len(whole))
		}
	}
}

// A builtStore has derivations, but does not build. It reports outputs that exist already.
type builtStore struct {
	store.Store
	outputs map[string]storepath.Path
}

func (b builtStore) QueryDerivationOutputMap(context.Context, storepath.Path) (map[string]storepath.Path, error) {
	return b.outputs, nil
}

func TestAlreadyBuilt(t *testing.T) {
	w := newWorld(t)
	s := builtStore{bare{w.s}, map[string]storepath.Path{"out": w.text, "dev": absent, "doc": ""}}
	c := dial(t, s, nil)
	opaque := func(p storepath.Path) derivation.DerivedPath { return derivation.Opaque{Path: p} }
	built := func(p storepath.Path, names ...string) derivation.DerivedPath {
		outputs := derivation.AllOutputs()
		if len(names) > 0 {
			outputs = derivation.NamedOutputs(names...)
		}
		return derivation.Built{Drv: derivation.Opaque{Path: p}, Outputs: outputs}
	}
	for _, q := range []struct {
		path   derivation.DerivedPath
		status store.BuildStatus
		fails  string
	}{
		{opaque(w.text), store.AlreadyValid, ""},
		{opaque(absent), store.NoSubstituters, "path '" + string(absent) + "' is required, but there is no substituter that can build it"},
		{built(w.drv, "out"), store.AlreadyValid, ""},
		{built(w.drv, "dev"), store.MiscFailure, "this store does not build, and its output 'dev' is not valid"},
		{built(w.drv, "doc"), store.MiscFailure, "this store does not build, and its output 'doc' is not valid"},
		{built(w.drv), store.MiscFailure, "this store does not build"},
		{built(absent, "out"), store.NoSubstituters, "is required"},
	} {
		_, err := c.ask(&protocol.BuildPathsRequest{Paths: []derivation.DerivedPath{q.path}}, nil)
		if (q.fails == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), q.fails) {
			t.Errorf("%s: %v, want %q", q.path, err, q.fails)
		}
		results := must[*protocol.BuildPathsWithResultsReply](c, &protocol.BuildPathsWithResultsRequest{Paths: []derivation.DerivedPath{q.path}}, nil).Results
		if len(results) != 1 || results[0].Status != q.status || !strings.Contains(results[0].Message, q.fails) {
			t.Errorf("%s: %+v, want %s", q.path, results, q.status)
		}
	}
	// An output that the derivation does not have is an error, not a result.
	none := []derivation.DerivedPath{opaque(w.text), built(w.drv, "bin")}
	for _, req := range []protocol.Request{&protocol.BuildPathsRequest{Paths: none}, &protocol.BuildPathsWithResultsRequest{Paths: none}} {
		if _, err := c.ask(req, nil); err == nil || !strings.Contains(err.Error(), "does not have output 'bin'") {
			t.Errorf("%v: %v", req.Op(), err)
		}
	}
}

// Lines are sent up to the verbosity that the client has set.
func TestVerbosity(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
		for level := activity.LevelError; level <= activity.LevelVomit; level++ {
			activity.HandlerOf(ctx).HandleEvent(activity.Log{Level: level, Text: level.String()})
		}
		return nil
	}})
	heard := func() (lines []string) {
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		for _, e := range c.events {
			lines = append(lines, e.(activity.Log).Text)
		}
		return lines
	}
	if got := heard(); !slices.Equal(got, []string{"error", "warn", "notice", "info"}) {
		t.Errorf("%q", got)
	}
	must[*protocol.None](c, &protocol.SetOptionsRequest{Verbosity: activity.LevelWarn}, nil)
	if got := heard(); !slices.Equal(got, []string{"error", "warn"}) {
		t.Errorf("%q", got)
	}
}
