package substitute_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// A path is fetched with its closure, and nothing else.
func TestClosure(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	lib := sub.put(t, named(t, "lib"), &key)
	data := sub.put(t, named(t, "data"), &key)
	app := sub.put(t, named(t, "app"), &key, data, lib, named(t, "app"))
	other := sub.put(t, named(t, "xray"), &key)

	s := local(t, from(key, sub))
	ctx, events := record(t)
	results := build(t, ctx, s, opaque(app, absent)[:1]...)
	if len(results) != 1 || results[0].Status != store.Substituted || results[0].Message != "" {
		t.Errorf("%+v", results)
	}
	checkValid(t, s, true, lib, data, app)
	checkValid(t, s, false, other)
	if results := build(t, ctx, s, opaque(app)...); results[0].Status != store.AlreadyValid {
		t.Errorf("%+v", results)
	}
	for _, p := range []storepath.Path{lib, data, app} {
		if n := sub.times(p); n != 1 {
			t.Errorf("%s was fetched %d times", p, n)
		}
		if line := "copying path '" + string(p) + "' from 'test://a'"; !strings.Contains(events.lines(), line) {
			t.Errorf("not logged: %s\n%s", line, events.lines())
		}
	}
	info, err := s.QueryPathInfo(ctx, app)
	if err != nil || len(info.Signatures) != 1 || info.Ultimate {
		t.Errorf("%+v, %v", info, err)
	}
}

// The events are consistent: every activity ends, and the progress reaches the expected values.
func TestActivities(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	lib := sub.put(t, named(t, "lib"), &key)
	app := sub.put(t, named(t, "app"), &key, lib)
	ctx, events := record(t)
	build(t, ctx, local(t, from(key, sub)), opaque(app)...)
	types := make(map[activity.Type]int)
	open := make(map[activity.ID]activity.Start)
	var last activity.Result
	for _, e := range events.events {
		switch e := e.(type) {
		case activity.Start:
			types[e.Type]++
			open[e.ID] = e
			if _, ok := open[e.Parent]; e.Parent != 0 && !ok {
				t.Errorf("%+v has an unknown parent", e)
			}
		case activity.Stop:
			delete(open, e.ID)
		case activity.Result:
			if open[e.ID].Type == activity.CopyPaths {
				last = e
			}
		}
	}
	want := map[activity.Type]int{activity.Realise: 1, activity.CopyPaths: 1, activity.Substitute: 2, activity.CopyPath: 2, activity.QueryPathInfo: 2}
	if len(open) > 0 || !reflect.DeepEqual(types, want) {
		t.Errorf("%v, not stopped: %v", types, open)
	}
	two, zero := activity.Number(2), activity.Number(0)
	if !slices.Equal(last.Fields, []activity.Field{two, two, zero, zero}) {
		t.Errorf("the last progress is %v", last)
	}
}

// After a substituter fails for any reason, the next one is asked.
func TestNextSubstituter(t *testing.T) {
	key, wrong := newKey(t, "k"), newKey(t, "k")
	for name, c := range map[string]struct {
		spoil func(t *testing.T, bad *substituter, path, lib storepath.Path)
		log   string
	}{
		"lies about contents": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, &key, lib)
			bad.alter = func(b []byte) []byte { return bytesReplaced(b, "this", "that") }
		}, "error: hash mismatch importing path"},
		"breaks off": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, &key, lib)
			bad.alter = func(b []byte) []byte { return b[:len(b)-20] }
		}, "error: "},
		"too long": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, &key, lib)
			bad.alter = func(b []byte) []byte { return append(b, make([]byte, 1000)...) }
		}, "error: "},
		"has no archive": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, &key, lib)
			bad.hook = func(context.Context, storepath.Path) error { return errBroken }
		}, "error: it is broken"},
		"does not answer": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.query = func(context.Context, storepath.Path) error { return errBroken }
		}, "error: it is broken"},
		"has no signature": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, nil, lib)
		}, "warning: ignoring substitute for '"},
		"has another signature": {func(t *testing.T, bad *substituter, path, lib storepath.Path) {
			bad.put(t, path, &wrong, lib)
		}, "warning: ignoring substitute for '"},
		"is empty": {func(*testing.T, *substituter, storepath.Path, storepath.Path) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newSubstituter(), newSubstituter()
			lib, app := named(t, "lib"), named(t, "app")
			good.put(t, lib, &key)
			good.put(t, app, &key, lib)
			if name != "is empty" {
				bad.put(t, lib, &key)
			}
			c.spoil(t, bad, app, lib)
			s := local(t, from(key, bad, good))
			ctx, events := record(t)
			results := build(t, ctx, s, opaque(app)...)
			if len(results) != 1 || results[0].Status != store.Substituted {
				t.Errorf("%+v", results)
			}
			checkValid(t, s, true, lib, app)
			if !strings.Contains(events.lines(), c.log) {
				t.Errorf("log:\n%s\nwant %q", events.lines(), c.log)
			}
			// Without another substituter, the call reports the failure, and leaves nothing behind.
			s = local(t, from(key, bad))
			err := store.BuildPaths(t.Context(), s, opaque(app), store.BuildNormal)
			if _, ok := errors.AsType[*store.BuildError](err); !ok {
				t.Errorf("without another substituter: %v", err)
			}
			checkValid(t, s, false, app)
		})
	}
}

func bytesReplaced(b []byte, old, new string) []byte {
	return []byte(strings.Replace(string(b), old, new, 1))
}

// The settings decide which paths are trusted.
func TestTrust(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	path := sub.put(t, named(t, "app"), nil)
	text, err := sub.AddTextToStore(t.Context(), "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	liar := newSubstituter()
	liar.put(t, text, nil) // its path does not follow from its contents
	self := named(t, "self")
	sub.put(t, self, nil, self)
	made := make(map[store.Rules]storepath.Path)
	for _, rules := range []store.Rules{store.Rules234, store.Rules236} {
		paths, err := store.MakeContentAddressed(t.Context(), sub, sub, []storepath.Path{self}, rules)
		if err != nil {
			t.Fatal(err)
		}
		made[rules] = paths[self]
	}
	weak, strong := made[store.Rules234], made[store.Rules236]
	for name, c := range map[string]struct {
		path storepath.Path
		set  func(*substitute.Settings)
		want store.BuildStatus
	}{
		"unsigned":                {path, func(*substitute.Settings) {}, store.NoSubstituters},
		"trusted":                 {path, func(s *substitute.Settings) { s.Substituters[0].Trusted = true }, store.Substituted},
		"no signatures":           {path, func(s *substitute.Settings) { s.NoSignatures = true }, store.Substituted},
		"no keys":                 {path, func(s *substitute.Settings) { s.TrustedKeys = nil }, store.NoSubstituters},
		"content-addressed":       {text, func(s *substitute.Settings) { s.TrustedKeys = nil }, store.Substituted},
		"strong address":          {strong, func(s *substitute.Settings) { s.TrustedKeys = nil }, store.Substituted},
		"weak address":            {weak, func(*substitute.Settings) {}, store.NoSubstituters},
		"weak, but trusted":       {weak, func(s *substitute.Settings) { s.Substituters[0].Trusted = true }, store.Substituted},
		"weak, no signatures":     {weak, func(s *substitute.Settings) { s.NoSignatures = true }, store.Substituted},
		"not really so addressed": {text, func(s *substitute.Settings) { s.Substituters[0].Store = liar }, store.NoSubstituters},
	} {
		settings := from(key, sub)
		c.set(settings)
		s := local(t, settings)
		if r := build(t, t.Context(), s, opaque(c.path)...); r[0].Status != c.want {
			t.Errorf("%s: %+v", name, r)
		}
		checkValid(t, s, c.want == store.Substituted, c.path)
	}
}

// A path that is not available is reported with Nix's messages.
func TestUnavailable(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	lib := sub.put(t, named(t, "lib"), &key)
	gone := sub.put(t, named(t, "gone"), &key)
	app := sub.put(t, named(t, "app"), &key, gone, lib)
	fine := sub.put(t, named(t, "fine"), &key)
	sub.query = func(_ context.Context, p storepath.Path) error {
		if p == gone {
			return &store.NotFoundError{Path: p}
		}
		return nil
	}
	settings := from(key, sub)
	s := local(t, settings)
	required := "path '" + string(absent) + "' is required, but there is no substituter that can build it"

	err := store.BuildPaths(t.Context(), s, opaque(absent), store.BuildNormal)
	if err == nil || !strings.HasSuffix(err.Error(), ": "+required) {
		t.Errorf("%v", err)
	}
	if err := s.EnsurePath(t.Context(), absent); err == nil || err.Error() != required {
		t.Errorf("%v", err)
	}
	results := build(t, t.Context(), s, opaque(absent, fine)...)
	if len(results) != 2 || results[0].Status != store.NoSubstituters || results[0].Message != required || results[1].Status != store.Substituted {
		t.Errorf("%+v", results)
	}
	ctx, events := record(t)
	err = store.BuildPaths(ctx, s, opaque(absent, app), store.BuildNormal)
	if err == nil || !strings.HasSuffix(err.Error(), ": build of '"+string(app)+"', '"+string(absent)+"' failed") {
		t.Errorf("%v", err)
	}
	for _, line := range []string{"error: " + required, "error: some references of path '" + string(app) + "' could not be realised"} {
		if !strings.Contains(events.lines(), line) {
			t.Errorf("not logged %q:\n%s", line, events.lines())
		}
	}
	checkValid(t, s, true, fine)
	checkValid(t, s, false, app)
}

// After a substituter fails, other paths are tried only with keep-going.
func TestKeepGoing(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	bad := sub.put(t, named(t, "bad"), &key)
	app := sub.put(t, named(t, "app"), &key, bad)
	fine := sub.put(t, named(t, "fine"), &key)
	var failed atomic.Bool
	sub.hook = func(ctx context.Context, p storepath.Path) error {
		if p == bad {
			failed.Store(true)
			return errBroken
		}
		for !failed.Load() { // the other archives arrive later
			time.Sleep(time.Millisecond)
		}
		return ctx.Err()
	}
	settings := from(key, sub)
	s := local(t, settings)
	ctx, events := record(t)
	results := build(t, ctx, s, opaque(app, fine)...)
	if len(results) != 2 || results[0].Status != store.DependencyFailed || results[1].Status != store.Substituted {
		t.Errorf("%+v", results)
	}
	checkValid(t, s, false, app, bad)
	checkValid(t, s, true, fine) // it had arrived before the failure
	if line := "error: path '" + string(bad) + "' is required, but there is no substituter that can build it"; strings.Count(events.lines(), line) != 1 {
		t.Errorf("log:\n%s", events.lines())
	}
	settings.KeepGoing = true
	results = build(t, t.Context(), s, opaque(app, fine)...)
	if len(results) != 2 || results[0].Status != store.DependencyFailed || results[1].Status != store.AlreadyValid {
		t.Errorf("%+v", results)
	}
	checkValid(t, s, true, fine)
}

// If the last substituter fails, the call fails, except with fallback.
func TestFallback(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	app := sub.put(t, named(t, "app"), &key)
	sub.query = func(context.Context, storepath.Path) error { return errBroken }
	settings := from(key, sub)
	s := local(t, settings)
	paths := map[storepath.Path]storepath.ContentAddress{app: {}}
	if _, err := s.QuerySubstitutablePathInfos(t.Context(), paths); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if _, err := s.BuildPathsWithResults(t.Context(), opaque(app), store.BuildNormal); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	settings.Fallback = true
	ctx, events := record(t)
	if infos, err := s.QuerySubstitutablePathInfos(ctx, paths); len(infos) != 0 || err != nil {
		t.Errorf("%v, %v", infos, err)
	}
	if events.lines() != "error: it is broken" {
		t.Errorf("log:\n%s", events.lines())
	}
	if r := build(t, t.Context(), s, opaque(app)...); r[0].Status != store.NoSubstituters {
		t.Errorf("%+v", r)
	}
}

func TestQueries(t *testing.T) {
	key, first, second := newKey(t, "k"), newSubstituter(), newSubstituter()
	lib := first.put(t, named(t, "lib"), &key)
	second.put(t, lib, &key)
	app := second.put(t, named(t, "app"), nil, lib) // unsigned: Nix lists it here, too
	settings := from(key, first, second)
	s := local(t, settings)
	paths := []storepath.Path{app, absent, lib}
	if got, err := s.QuerySubstitutablePaths(t.Context(), paths); err != nil || !slices.Equal(got, []storepath.Path{app, lib}) {
		t.Errorf("%v, %v", got, err)
	}
	settings.Substituters[0].WantMassQuery = false
	if got, err := s.QuerySubstitutablePaths(t.Context(), paths); err != nil || !slices.Equal(got, []storepath.Path{app, lib}) {
		t.Errorf("%v, %v", got, err)
	}
	settings.Substituters[1].WantMassQuery = false
	if got, err := s.QuerySubstitutablePaths(t.Context(), paths); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	infos, err := s.QuerySubstitutablePathInfos(t.Context(), map[storepath.Path]storepath.ContentAddress{app: {}, absent: {}, lib: {}})
	if err != nil || len(infos) != 2 || infos[0].Path != app || infos[0].NARSize == 0 || !slices.Equal(infos[0].References, []storepath.Path{lib}) {
		t.Errorf("%v, %v", infos, err)
	}
	missing, err := s.QueryMissing(t.Context(), opaque(app, absent))
	if err != nil || !slices.Equal(missing.WillSubstitute, []storepath.Path{app, lib}) || !slices.Equal(missing.Unknown, []storepath.Path{absent}) || missing.NARSize != infos[0].NARSize+infos[1].NARSize {
		t.Errorf("%+v, %v", missing, err)
	}
	// With substitute, trusted paths are fetched, and the others are no error.
	drv, _, _ := addDrv(t, first.Store, "app", nil)
	ctx, events := record(t)
	valid, err := s.QueryValidPaths(ctx, []storepath.Path{app, lib, drv, absent}, true)
	if err != nil || !slices.Equal(valid, []storepath.Path{lib}) {
		t.Errorf("%v, %v", valid, err)
	}
	if !strings.Contains(events.lines(), "warning: ignoring substitute for '"+string(app)) {
		t.Errorf("log:\n%s", events.lines())
	}
	settings.Substituters = nil
	if got, err := s.QuerySubstitutablePaths(t.Context(), paths); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if missing, err := s.QueryMissing(t.Context(), opaque(app)); err != nil || !slices.Equal(missing.Unknown, []storepath.Path{app}) {
		t.Errorf("%+v, %v", missing, err)
	}
}

// addDrv adds a derivation with two outputs to a store, and returns it and their paths.
func addDrv(t *testing.T, s store.Store, name string, env map[string]string) (drv, out, doc storepath.Path) {
	t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	for key, value := range env {
		d.Env.Set(key, value)
	}
	for _, output := range []string{"out", "doc"} {
		d.Outputs.Set(output, derivation.DeferredOutput())
		d.Env.Set(output, "")
	}
	if err := d.FillOutputPaths(func(storepath.Path) (h derivation.ModuloHash, ok bool) { return h, false }, nil); err != nil {
		t.Fatal(err)
	}
	drv, err := store.AddText(t.Context(), s, name+".drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := store.OutputMap(t.Context(), s, drv)
	if err != nil {
		t.Fatal(err)
	}
	return drv, outputs["out"], outputs["doc"]
}

func outputsOf(drv storepath.Path, names ...string) derivation.DerivedPath {
	spec := derivation.AllOutputs()
	if len(names) > 0 {
		spec = derivation.NamedOutputs(names...)
	}
	return derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: spec}
}

// Outputs of a derivation are substituted if all wanted ones are available.
func TestOutputs(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	settings := from(key, sub)
	s := local(t, settings)
	drv, out, doc := addDrv(t, s, "both", nil)
	sub.put(t, out, &key)

	missing := func(path derivation.DerivedPath) *store.Missing {
		t.Helper()
		m, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{path})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := missing(outputsOf(drv)); len(m.WillSubstitute) != 0 || !slices.Equal(m.WillBuild, []storepath.Path{drv}) {
		t.Errorf("%+v", m)
	}
	if m := missing(outputsOf(drv, "out")); len(m.WillBuild) != 0 || !slices.Equal(m.WillSubstitute, []storepath.Path{out}) {
		t.Errorf("%+v", m)
	}
	r := build(t, t.Context(), s, outputsOf(drv, "out"))
	if r[0].Status != store.Substituted || !reflect.DeepEqual(r[0].Outputs, map[string]store.Realisation{"out": {OutPath: out}}) {
		t.Errorf("%+v", r)
	}
	r = build(t, t.Context(), s, outputsOf(drv))
	if r[0].Status != store.MiscFailure || !strings.Contains(r[0].Message, "its output 'doc' is not valid") {
		t.Errorf("%+v", r)
	}
	sub.put(t, doc, &key)
	sub.hook = func(context.Context, storepath.Path) error { return errBroken }
	r = build(t, t.Context(), s, outputsOf(drv))
	if r[0].Status != store.TransientFailure || !strings.HasPrefix(r[0].Message, "some substitutes for the outputs of derivation '"+string(drv)+"' failed") {
		t.Errorf("%+v", r)
	}
	sub.hook = nil
	if _, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{outputsOf(drv, "none")}, store.BuildNormal); err == nil || !strings.Contains(err.Error(), "does not have output 'none'") {
		t.Errorf("%v", err)
	}
	if r = build(t, t.Context(), s, outputsOf(drv)); r[0].Status != store.Substituted || len(r[0].Outputs) != 2 {
		t.Errorf("%+v", r)
	}
	if r = build(t, t.Context(), s, outputsOf(drv)); r[0].Status != store.AlreadyValid || len(r[0].Outputs) != 2 {
		t.Errorf("%+v", r)
	}
	if _, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{outputsOf(drv)}, store.BuildCheck); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if r, err := s.BuildPathsWithResults(t.Context(), opaque(out), store.BuildCheck); err != nil || r[0].Status != store.AlreadyValid {
		t.Errorf("%+v, %v", r, err)
	}

	own, out, _ := addDrv(t, s, "own", map[string]string{"allowSubstitutes": ""})
	sub.put(t, out, &key)
	if m := missing(outputsOf(own, "out")); !slices.Equal(m.WillBuild, []storepath.Path{own}) {
		t.Errorf("%+v", m)
	}
	if r := build(t, t.Context(), s, outputsOf(own, "out")); r[0].Status != store.MiscFailure {
		t.Errorf("%+v", r)
	}
	settings.AlwaysAllowed = true
	if m := missing(outputsOf(own, "out")); len(m.WillBuild) != 0 || !slices.Equal(m.WillSubstitute, []storepath.Path{out}) {
		t.Errorf("always allowed: %+v", m)
	}
	if r := build(t, t.Context(), s, outputsOf(own, "out")); r[0].Status != store.Substituted {
		t.Errorf("always allowed: %+v", r)
	}
}

// A derivation that the store lacks is substituted first.
func TestSubstitutedDerivation(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	drv, out, _ := addDrv(t, sub.Store, "far", nil)
	sub.put(t, out, &key)
	s := local(t, from(key, sub))
	if r := build(t, t.Context(), s, outputsOf(drv, "out")); r[0].Status != store.Substituted {
		t.Errorf("%+v", r)
	}
	checkValid(t, s, true, drv, out)
	nowhere := named(t, "xx.drv")
	if r := build(t, t.Context(), s, outputsOf(nowhere)); r[0].Status != store.DependencyFailed || r[0].Message != "failed to obtain derivation of '"+string(nowhere)+"'" {
		t.Errorf("%+v", r)
	}
}

// A damaged object is fetched again in repair mode only.
func TestRepair(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	app := sub.put(t, named(t, "app"), &key)
	s := local(t, from(key, sub))
	for i, want := range []int{1, 1, 2} {
		mode := store.BuildNormal
		if i == 2 {
			mode = store.BuildRepair
		}
		if err := s.BuildPaths(t.Context(), opaque(app), mode); err != nil || sub.times(app) != want {
			t.Errorf("%v: %v, fetched %d times", mode, err, sub.times(app))
		}
	}
}

// Substituters with another store directory provide nothing that has references.
func TestOtherStoreDir(t *testing.T) {
	key := newKey(t, "k")
	settings := &substitute.Settings{TrustedKeys: signature.NewKeySet(key.Public()), Substituters: []substitute.Substituter{
		{Store: memstore.New(&memstore.Options{Dir: "/gnu/store"})},
	}}
	if r := build(t, t.Context(), local(t, settings), opaque(absent)...); r[0].Status != store.NoSubstituters {
		t.Errorf("%+v", r)
	}
}

// A path that is substituted in a session is kept until the session is closed.
func TestSessionKeeps(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	lib := sub.put(t, named(t, "lib"), &key)
	app := sub.put(t, named(t, "app"), &key, lib)
	s := local(t, from(key, sub))
	session, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	build(t, t.Context(), session, opaque(app)...)
	collect := func() {
		t.Helper()
		if _, err := store.CollectGarbage(t.Context(), s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	checkValid(t, s, true, app, lib)
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	collect()
	checkValid(t, s, false, app, lib)
}

// A realisation gives the path of a content-addressed output, if it has a trusted signature.
func TestRealisations(t *testing.T) {
	key, wrong := newKey(t, "k"), newKey(t, "k")
	for name, c := range map[string]struct {
		sign     *signature.SecretKey
		set      func(*substitute.Settings)
		realised bool
	}{
		"signed":                {&key, func(*substitute.Settings) {}, true},
		"unsigned":              {nil, func(*substitute.Settings) {}, false},
		"wrong key":             {&wrong, func(*substitute.Settings) {}, false},
		"trusted":               {nil, func(s *substitute.Settings) { s.Substituters[0].Trusted = true }, true},
		"no signatures":         {nil, func(s *substitute.Settings) { s.NoSignatures = true }, true},
		"unsigned realisations": {nil, func(s *substitute.Settings) { s.UnsignedRealisations = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			sub := newSubstituter()
			settings := from(key, sub)
			c.set(settings)
			s := local(t, settings)
			d := &derivation.Derivation{Name: "floating", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
			d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
			drv, err := store.AddText(t.Context(), s, "floating.drv", d.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			hasher, _ := store.As[store.DrvHasher](s)
			hash, err := hasher.DrvHash(t.Context(), drv)
			if err != nil {
				t.Fatal(err)
			}
			out, err := sub.AddTextToStore(t.Context(), "floating", "it is here", nil)
			if err != nil {
				t.Fatal(err)
			}
			r := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Output: "out"}, Realisation: store.Realisation{OutPath: out}}
			if c.sign != nil {
				fingerprint, err := signature.OldRealisationFingerprint(hash, "out", out)
				if err != nil {
					t.Fatal(err)
				}
				r.Signatures = []string{c.sign.Sign(fingerprint).String()}
			}
			if m, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{outputsOf(drv)}); err != nil || !slices.Equal(m.WillBuild, []storepath.Path{drv}) {
				t.Errorf("before any substituter has it: %+v, %v", m, err)
			}
			if err := sub.RegisterDrvOutput(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			// This query needs no signature, as in every Nix.
			ctx, events := record(t)
			m, err := s.QueryMissing(ctx, []derivation.DerivedPath{outputsOf(drv)})
			if err != nil || !slices.Equal(m.WillSubstitute, []storepath.Path{out}) || events.lines() != "" {
				t.Errorf("%+v, %v\n%s", m, err, events.lines())
			}
			results := build(t, ctx, s, outputsOf(drv))
			if !c.realised {
				if results[0].Status != store.MiscFailure || !strings.Contains(events.lines(), "warning: ignoring substitute for build trace") {
					t.Errorf("%+v\n%s", results, events.lines())
				}
				return
			}
			if results[0].Status != store.Substituted || results[0].Outputs["out"].OutPath != out {
				t.Errorf("%+v", results)
			}
			if outputs, err := store.OutputMap(t.Context(), s, drv); err != nil || outputs["out"] != out {
				t.Errorf("%v, %v", outputs, err)
			}
		})
	}
}

// Substituters of Nix 2.35 and later have realisations of resolved derivations only, by their paths.
func TestBuildTraces(t *testing.T) {
	key, wrong := newKey(t, "k"), newKey(t, "k")
	for name, c := range map[string]struct {
		low, high *signature.SecretKey
		realised  bool
	}{
		"signed":            {&key, &key, true},
		"an unsigned input": {nil, &key, false},
		"wrong key":         {&key, &wrong, false},
	} {
		t.Run(name, func(t *testing.T) {
			sub := newSubstituter()
			s := local(t, from(key, sub))
			d := &derivation.Derivation{Name: "low", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
			d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
			low, err := store.AddText(t.Context(), s, "low.drv", d.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			d.Name = "high"
			d.InputDerivations.Set(low, derivation.OutputsOf("out"))
			high, err := store.AddText(t.Context(), s, "high.drv", d.String(), []storepath.Path{low})
			if err != nil {
				t.Fatal(err)
			}
			trace := func(key *signature.SecretKey, drv storepath.Path, text string) storepath.Path {
				out, err := sub.AddTextToStore(t.Context(), text, text, nil)
				if err != nil {
					t.Fatal(err)
				}
				r := store.KeyedRealisation{ID: store.DrvOutput{Path: drv, Output: "out"}, Realisation: store.Realisation{OutPath: out}}
				if key != nil {
					fingerprint, err := signature.RealisationFingerprint(drv, "out", out)
					if err != nil {
						t.Fatal(err)
					}
					r.Signatures = []string{key.Sign(fingerprint).String()}
				}
				if err := sub.RegisterDrvOutput(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				return out
			}
			lowOut := trace(c.low, low, "low-out")
			resolved, err := d.Resolve(func(derivation.SingleDerivedPath, string) (storepath.Path, bool) { return lowOut, true })
			if err != nil {
				t.Fatal(err)
			}
			drv, err := resolved.Path()
			if err != nil {
				t.Fatal(err)
			}
			highOut := trace(c.high, drv, "high-out")

			ctx, events := record(t)
			m, err := s.QueryMissing(ctx, []derivation.DerivedPath{outputsOf(high)})
			if err != nil || !slices.Equal(m.WillSubstitute, []storepath.Path{highOut}) {
				t.Errorf("%+v, %v\n%s", m, err, events.lines())
			}
			results := build(t, ctx, s, outputsOf(high))
			if !c.realised {
				if results[0].Status != store.MiscFailure || !strings.Contains(events.lines(), "warning: ignoring substitute for build trace '") {
					t.Errorf("%+v\n%s", results, events.lines())
				}
				return
			}
			if results[0].Status != store.Substituted || results[0].Outputs["out"].OutPath != highOut {
				t.Errorf("%+v\n%s", results, events.lines())
			}
			if r, err := store.QueryRealisation(t.Context(), s, store.DrvOutput{Path: drv, Output: "out"}); err != nil || r.OutPath != highOut || len(r.Signatures) != 1 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// The settings are not requested, and no substituter is opened, as long as nothing is missing.
func TestSettingsNotNeeded(t *testing.T) {
	below := memstore.New(nil)
	s := substitute.New(below, &substitute.Options{Settings: func(context.Context) (*substitute.Settings, error) { return nil, errBroken }})
	drv, _, _ := addDrv(t, s, "there", nil)
	ask := func(path storepath.Path) (errs []error) {
		_, missing := s.QueryMissing(t.Context(), opaque(path))
		_, valid := s.QueryValidPaths(t.Context(), []storepath.Path{path}, false)
		return []error{
			missing, valid, s.EnsurePath(t.Context(), path), s.BuildPaths(t.Context(), opaque(path), store.BuildNormal),
		}
	}
	for i, err := range ask(drv) {
		if err != nil {
			t.Errorf("call %d with nothing missing: %v", i, err)
		}
	}
	for i, err := range ask(absent) {
		if i != 1 && !errors.Is(err, errBroken) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// If an error names no path, copying one object at a time finds the object that fails.
func TestUnknownFailure(t *testing.T) {
	key, bad, good := newKey(t, "k"), newSubstituter(), newSubstituter()
	var paths []storepath.Path
	for i := range 10 {
		name := named(t, fmt.Sprint("path", i))
		bad.put(t, name, &key)
		paths = append(paths, good.put(t, name, &key))
	}
	below := &picky{Store: memstore.New(nil), refused: paths[7], refusals: 2}
	s := over(t, below, from(key, bad, good))
	ctx, events := record(t)
	for _, r := range build(t, ctx, s, opaque(paths...)...) {
		if r.Status != store.Substituted {
			t.Errorf("%+v", r)
		}
	}
	if strings.Count(events.lines(), "error: it is broken") != 1 || good.times(paths[7]) != 1 {
		t.Errorf("log:\n%s", events.lines())
	}
}

// A picky store refuses an object a number of times.
type picky struct {
	*memstore.Store
	refused  storepath.Path
	refusals int
}

func (p *picky) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	for object, err := range objects {
		if err == nil && object.Info.Path == p.refused && p.refusals > 0 {
			p.refusals--
			err = errBroken
		}
		if err == nil {
			err = p.AddToStoreNAR(ctx, object.Info, object.NAR, opts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
