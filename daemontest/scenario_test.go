package daemontest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A scenario is a use of a daemon that can be recorded and replayed.
type scenario struct {
	name string
	opts daemon.Options
	run  func(ctx context.Context, open func() *daemon.Pool, a *answers)

	// leaves says that the client may leave before it has read everything, so that the next run
	// may read more or less.
	leaves bool
}

// scenarios are independent of each other. They need a daemon that can build.
var scenarios = []scenario{
	{name: "path-infos", run: askInfos},
	{name: "add-text", run: addTexts},
	{name: "build", opts: daemon.Options{Settings: talkative()}, run: buildBoth},
	{name: "archive", run: download},
	{name: "upload", run: uploadObjects},
	{name: "gc", run: collect},
	{name: "roots", run: keepRoots},
	{name: "refused", opts: daemon.Options{StoreDir: "/other/store"}, run: beRefused, leaves: true},
	{name: "cancelled", run: cancelBuild, leaves: true},
}

func talkative() *daemon.Settings {
	s := daemon.DefaultSettings()
	s.Verbosity, s.KeepGoing = activity.LevelTalkative, true
	return s
}

// answers are the results of a client, one per line.
type answers struct {
	t     testing.TB
	lines []string
}

// note records an answer and reports whether there is one.
func (a *answers) note(what string, answer any, err error) bool {
	a.t.Helper()
	text, marshalErr := json.Marshal(answer)
	if marshalErr == nil {
		text, marshalErr = withoutZeros(text)
	}
	if marshalErr != nil {
		a.t.Fatal(marshalErr)
	}
	if err != nil {
		text = fmt.Appendf(nil, "error %q", err)
	}
	a.lines = append(a.lines, what+": "+string(text))
	return err == nil
}

// withoutZeros removes zero values from JSON objects, so that answers do not change when a type
// gets a new field.
func withoutZeros(text []byte) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var clean func(v any) any
	clean = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = clean(v[i])
			}
		case map[string]any:
			for key, member := range v {
				v[key] = clean(member)
				switch fmt.Sprint(v[key]) {
				case "", "0", "false", "[]", "map[]", "<nil>", "0001-01-01T00:00:00Z":
					delete(v, key)
				}
			}
		}
		return v
	}
	return json.Marshal(clean(v))
}

// must records an answer that must not be an error.
func (a *answers) must(what string, answer any, err error) {
	a.t.Helper()
	if !a.note(what, answer, err) {
		a.t.Fatalf("%s: %v", what, err)
	}
}

// hears returns a context whose events are recorded as in a trace.
func (a *answers) hears(ctx context.Context) context.Context {
	p := protocol.Params{Version: protocol.MaxVersion}
	return activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		m := protocol.Message{Event: e}
		switch e.(type) {
		case activity.Log:
			m.Kind = protocol.MessageLog
		case activity.Start:
			m.Kind = protocol.MessageStart
		case activity.Stop:
			m.Kind = protocol.MessageStop
		case activity.Result:
			m.Kind = protocol.MessageEvent
		}
		a.lines = append(a.lines, p.TraceMessage(m, -1))
	}))
}

func askInfos(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	var paths []storepath.Path
	for i := range 8 {
		path, err := p.AddTextToStore(ctx, fmt.Sprint("text-", i), strings.Repeat("x", i*20), paths[:min(i, 2)])
		a.must("AddTextToStore", path, err)
		paths = append(paths, path)
	}
	for info, err := range p.QueryPathInfos(ctx, paths) {
		a.must("QueryPathInfos", info, err)
	}
	for info, err := range p.QueryClosure(ctx, paths[7]) {
		a.must("QueryClosure", info, err)
	}
	for info, err := range p.QueryPathInfos(ctx, append(paths[:2:2], somePath, paths[3])) {
		a.note("QueryPathInfos with one that is not valid", info, err)
	}
	valid, err := p.QueryValidPaths(ctx, append(paths, somePath), false)
	a.must("QueryValidPaths", valid, err)
	if len(valid) != 8 {
		a.t.Errorf("%d paths are valid", len(valid))
	}
	referrers, err := p.QueryReferrers(ctx, paths[0])
	a.must("QueryReferrers", referrers, err)
}

func addTexts(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	path, err := p.AddTextToStore(ctx, "text", "a text", nil)
	a.must("AddTextToStore", path, err)
	_, err = p.AddTextToStore(ctx, "refers", "see", []storepath.Path{somePath})
	if a.note("AddTextToStore with a reference that is not valid", nil, err) {
		a.t.Error("no error")
	}
	refers, err := p.AddTextToStore(ctx, "refers", "see\n\x00\xff", []storepath.Path{path})
	a.must("AddTextToStore with a reference", refers, err)
	info, err := p.QueryPathInfo(ctx, refers)
	a.must("QueryPathInfo", info, err)
	source, err := p.AddToStore(ctx, "source", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(fileNAR("a source")), nil)
	a.must("AddToStore", source, err)
}

// buildable returns a derivation that runs a script.
func buildable(t testing.TB, name, script string) *derivation.Derivation {
	d := &derivation.Derivation{
		Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", script},
	}
	d.Env.Set("PATH", "/usr/bin:/bin")
	d.Env.Set("out", "")
	d.Outputs.Set("out", derivation.DeferredOutput())
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

func (a *answers) addDerivation(ctx context.Context, p *daemon.Pool, name, script string) derivation.DerivedPath {
	d := buildable(a.t, name, script)
	path, err := p.AddTextToStore(ctx, name+".drv", d.String(), nil)
	a.must("AddTextToStore of a derivation", path, err)
	return derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.AllOutputs()}
}

func buildBoth(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	good := a.addDerivation(ctx, p, "good", "echo one; echo 'two \"quoted\"' >&2; echo built > $out")
	bad := a.addDerivation(ctx, p, "bad", "echo it fails; exit 3")
	results, err := p.BuildPathsWithResults(a.hears(ctx), []derivation.DerivedPath{good, bad}, store.BuildNormal)
	a.must("BuildPathsWithResults", results, err)
	if len(results) != 2 || results[0].Status != store.Built || results[1].Status.Succeeded() {
		a.t.Errorf("%+v", results)
	}
	a.note("BuildPaths", nil, p.BuildPaths(a.hears(ctx), []derivation.DerivedPath{bad}, store.BuildNormal))
	a.must("BuildPaths of what is there", nil, p.BuildPaths(a.hears(ctx), []derivation.DerivedPath{good}, store.BuildNormal))
	missing, err := p.QueryMissing(ctx, []derivation.DerivedPath{good, bad})
	a.must("QueryMissing", missing, err)
	outputs, err := p.QueryDerivationOutputs(ctx, good.Base())
	a.must("QueryDerivationOutputs", outputs, err)
}

func download(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	contents := strings.Repeat("contents ", 100)
	path, err := p.AddTextToStore(ctx, "long", contents, nil)
	a.must("AddTextToStore", path, err)
	for range 2 {
		r, err := p.NARFromPath(ctx, path)
		if err != nil {
			a.t.Fatal(err)
		}
		archive, err := io.ReadAll(r)
		a.must("NARFromPath", nixhash.Sum(nixhash.SHA256, archive), err)
		if !bytes.Equal(archive, fileNAR(contents)) {
			a.t.Errorf("%q", archive)
		}
		r.Close()
	}
	_, err = p.NARFromPath(ctx, somePath)
	a.note("NARFromPath of what is not valid", nil, err)
}

func uploadObjects(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	opts := &store.AddOptions{NoSignatures: true}
	text, err := p.AddTextToStore(ctx, "text", "a text", nil)
	a.must("AddTextToStore", text, err)
	first, firstNAR := object("first", text)
	second, secondNAR := object(strings.Repeat("second", 10), first.Path)
	third, thirdNAR := object("third", second.Path)
	a.must("AddMultipleToStore", nil, p.AddMultipleToStore(ctx, 2, imports(first, firstNAR, second, secondNAR), opts))
	wrong := *third
	wrong.NARHash = nixhash.Sum(nixhash.SHA256, nil)
	if a.note("AddToStoreNAR of a wrong hash", nil, p.AddToStoreNAR(ctx, &wrong, bytes.NewReader(thirdNAR), opts)) {
		a.t.Error("no error")
	}
	a.must("AddToStoreNAR", nil, p.AddToStoreNAR(ctx, third, bytes.NewReader(thirdNAR), opts))
	info, err := p.QueryPathInfo(ctx, third.Path)
	a.must("QueryPathInfo", info, err)
}

func collect(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	ask := func(action store.GCAction, paths ...storepath.Path) {
		result, err := p.CollectGarbage(ctx, store.GCOptions{Action: action, Paths: paths, MaxFreed: math.MaxUint64})
		if err == nil {
			slices.Sort(result.Paths)
		}
		a.must(action.String(), result, err)
	}
	path, err := p.AddTextToStore(ctx, "garbage", "no good", nil)
	a.must("AddTextToStore", path, err)
	for range 2 {
		ask(store.GCReturnLive)
	}
	ask(store.GCReturnDead)
	remain, err := p.VerifyStore(ctx, true, false)
	a.must("VerifyStore", remain, err)
}

func keepRoots(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	path, err := p.AddTextToStore(ctx, "kept", "kept", nil)
	a.must("AddTextToStore", path, err)
	a.must("AddTempRoot", nil, p.AddTempRoot(ctx, path))
	a.must("AddIndirectRoot", nil, p.AddIndirectRoot(ctx, "/tmp/result"))
	roots, err := p.FindRoots(ctx)
	a.must("FindRoots", roots, err)
}

// beRefused queries a path of another store directory. It makes one query: whether the client
// notices the hang-up of the daemon before another query depends on timing.
func beRefused(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	path := storepath.Dir("/other/store")
	other, err := path.TextPath("x", nixhash.Sum(nixhash.SHA256, nil), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.note("EnsurePath", nil, p.EnsurePath(ctx, other)) {
		a.t.Error("no error")
	}
}

// cancelBuild cancels a build at its first event.
func cancelBuild(ctx context.Context, open func() *daemon.Pool, a *answers) {
	p := open()
	path := a.addDerivation(ctx, p, "endless", "echo it begins; sleep 100; echo it ends")
	build, cancel := context.WithCancel(ctx)
	defer cancel()
	build = activity.WithHandler(build, activity.HandlerFunc(func(e activity.Event) {
		if line, _ := activity.Line(e); strings.Contains(line, "it begins") {
			cancel()
		}
	}))
	if a.note("BuildPaths", nil, p.BuildPaths(build, []derivation.DerivedPath{path}, store.BuildNormal)) {
		a.t.Error("no error")
	}
	valid, err := p.IsValidPath(ctx, path.Base())
	a.must("IsValidPath", valid, err)
}

// record runs a scenario with the daemon of a transport, and returns the answers and the trace.
func (s scenario) record(t testing.TB, transport daemon.Transport) (lines []string, trace string) {
	t.Helper()
	var b bytes.Buffer
	opts := s.opts
	opts.Trace, opts.TraceBody = &b, -1
	a := &answers{t: t}
	var pools []*daemon.Pool
	s.run(t.Context(), func() *daemon.Pool {
		p, err := daemon.Open(t.Context(), transport, &opts)
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, p)
		return p
	}, a)
	for _, p := range pools {
		p.Close()
	}
	return a.lines, b.String()
}
