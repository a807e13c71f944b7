package memstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// text adds a text in a session of its own, so that it can be collected.
func text(t testing.TB, s *Store, name string, references ...storepath.Path) storepath.Path {
	t.Helper()
	session := s.newSession()
	defer session.Close()
	path, err := session.AddTextToStore(t.Context(), name, fmt.Sprint(name, references), references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newObject returns the info and the archive of an object that is not content-addressed.
func newObject(t testing.TB, name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR([]byte(name))
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references}, archive
}

func TestAddByContents(t *testing.T) {
	s := New(nil)
	for _, c := range []struct {
		m        storepath.Method
		a        nixhash.Algorithm
		contents string
		path     storepath.Path // from nix-store
	}{
		{storepath.Text, nixhash.SHA256, "hello world", "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"},
		{storepath.Flat, nixhash.SHA1, "x", ""},
		{storepath.NAR, nixhash.SHA256, string(fileNAR([]byte("x"))), ""},
		{storepath.NAR, nixhash.SHA512, string(fileNAR([]byte("x"))), ""},
	} {
		info, err := s.AddToStore(t.Context(), "hello.txt", c.m, c.a, nil, strings.NewReader(c.contents), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsContentAddressed() || c.path != "" && info.Path != c.path {
			t.Errorf("%s, %s: %+v", c.m, c.a, info)
		}
		// The object can be read, and added with its info to another store.
		var archive bytes.Buffer
		r, err := s.NARFromPath(t.Context(), info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&archive, r); err != nil {
			t.Error(err)
		}
		other := New(nil)
		if err := other.AddToStoreNAR(t.Context(), info, &archive, nil); err != nil {
			t.Errorf("%s, %s: %v", c.m, c.a, err)
		}
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.Git, nixhash.SHA1, nil, strings.NewReader(""), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("git: %v", err)
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.NAR, nixhash.SHA256, nil, strings.NewReader("not an archive"), nil); err == nil {
		t.Error("an invalid archive was added")
	}
	if _, err := s.AddToStore(t.Context(), "a b", storepath.Flat, nixhash.SHA256, nil, strings.NewReader(""), nil); err == nil {
		t.Error("an invalid name was accepted")
	}
}

// An invalid object is refused with the message of Nix, and is not added.
func TestInvalidObjects(t *testing.T) {
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signature.GenerateKey("stranger-1")
	if err != nil {
		t.Fatal(err)
	}
	s := New(&Options{TrustedKeys: signature.NewKeySet(key.Public())})
	all := &store.AddOptions{NoSignatures: true}
	wrongCA, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("other")))
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := s.Dir().FixedOutputPath("fixed", wrongCA, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*store.PathInfo)
		opts   *store.AddOptions
		want   string
	}{
		{func(*store.PathInfo) {}, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(stranger) }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(key); i.NARSize++ }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.NARSize++ }, all, "size mismatch importing path"},
		{func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil) }, all, "hash mismatch importing path"},
		{func(i *store.PathInfo) { i.References = []storepath.Path{absent} }, all, "path '" + string(absent) + "' is not valid"},
		{func(i *store.PathInfo) { i.CA = wrongCA }, all, "ca hash mismatch importing path"},
		{func(i *store.PathInfo) { i.Path, i.CA = fixed, wrongCA }, nil, "ca hash mismatch importing path"},
		{func(i *store.PathInfo) { i.Path = "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x" }, all, "/gnu/store"},
		{func(i *store.PathInfo) { i.Path = i.Path + ".drv" }, all, "error parsing derivation"},
	} {
		info, archive := newObject(t, "x")
		c.change(info)
		err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if s.has(info.Path) {
			t.Errorf("the path is valid after the error %q", c.want)
		}
	}
	info, archive := newObject(t, "x")
	info.CA = storepath.ContentAddress{}
	info.Sign(key, stranger)
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Errorf("a signed object was refused: %v", err)
	}
	if s.size != int64(len(archive)) {
		t.Errorf("the store counts %d bytes", s.size)
	}
}

// A false content address is an error, even if no signature is needed.
func TestFalseContentAddress(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	info.CA = ca
	err = s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true})
	if err == nil || !strings.Contains(err.Error(), "claims to be content-addressed but isn't") {
		t.Errorf("%v", err)
	}
}

// The path of an object that refers to itself follows from its contents with zeros for its hash part.
func TestSelfReference(t *testing.T) {
	s := New(nil)
	dummy := strings.Repeat("0", storepath.HashPartLen)
	archive := fileNAR([]byte("I am " + dummy))
	h, err := nar.NewModuloHasher(nixhash.SHA256, dummy)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(archive)
	ca, err := storepath.NewContentAddress(storepath.NAR, h.Finish().WithOffsets)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.Dir().FixedOutputPath("self", ca, storepath.References{Self: true})
	if err != nil {
		t.Fatal(err)
	}
	archive = bytes.ReplaceAll(archive, []byte(dummy), []byte(path.HashPart()))
	info := &store.PathInfo{Path: path, CA: ca, NARSize: uint64(len(archive)), NARHash: nixhash.Sum(nixhash.SHA256, archive), References: []storepath.Path{path}}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	referrers, err := s.QueryReferrers(t.Context(), path)
	if err != nil || !slices.Equal(referrers, []storepath.Path{path}) {
		t.Errorf("%v, %v", referrers, err)
	}
	s.Close()
	result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if err != nil || !slices.Equal(result.Paths, []string{string(path)}) || result.BytesFreed != uint64(len(archive)) || s.size != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// The archive of a valid path is not read, except to repair the path.
func TestAddTwice(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, nil, opts); err != nil {
		t.Error(err)
	}
	s.objects[info.Path].nar[100]++
	if errs, err := s.VerifyStore(t.Context(), true, false); !errs || err != nil {
		t.Errorf("damage was not found: %v", err)
	}
	r, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "was modified! expected hash") {
		t.Errorf("the reader did not report the damage: %v", err)
	}
	opts.Repair = true
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if errs, err := s.VerifyStore(t.Context(), true, false); errs || err != nil || s.size != int64(len(archive)) {
		t.Errorf("after repair: %v, %v, %d bytes", errs, err, s.size)
	}
}

func TestSignatures(t *testing.T) {
	s := New(nil)
	path := text(t, s, "x")
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	sig := key.Sign([]byte("x")).String()
	for range 2 {
		if err := s.AddSignatures(t.Context(), path, []string{sig}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil || !slices.Equal(info.Signatures, []string{sig}) {
		t.Errorf("%v, %v", info, err)
	}
	info.Signatures[0] = "changed by the caller"
	if info, _ := s.QueryPathInfo(t.Context(), path); info.Signatures[0] != sig {
		t.Error("a caller can change the store")
	}
	if err := s.AddSignatures(t.Context(), path, []string{"no signature"}); err == nil {
		t.Error("an invalid signature was accepted")
	}
}

// derivations adds a derivation, a second one that depends on it, and one with a floating output.
func derivations(t testing.TB, s *Store) (first, second, floating storepath.Path) {
	t.Helper()
	add := func(d *derivation.Derivation) storepath.Path {
		d.Dir, d.Platform, d.Builder = s.Dir(), "x", "/b"
		inputs := func(p storepath.Path) (derivation.ModuloHash, bool) {
			o := s.objects[p]
			return o.drv.asInput, true
		}
		if err := d.FillOutputPaths(inputs, nil); err != nil {
			t.Fatal(err)
		}
		session := s.newSession()
		defer session.Close()
		path, err := session.AddTextToStore(t.Context(), d.Name+".drv", string(d.AppendATerm(nil)), d.References().Slice())
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	out := derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()})
	env := derivation.MapOf(derivation.Entry[string, string]{Key: "out"})
	first = add(&derivation.Derivation{Name: "first", Outputs: out.Clone(), Env: env.Clone()})
	second = add(&derivation.Derivation{Name: "second", Outputs: out.Clone(), Env: env.Clone(),
		InputDerivations: derivation.MapOf(derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: first, Value: derivation.OutputsOf("out")})})
	floating = add(&derivation.Derivation{Name: "floating", Env: derivation.MapOf(derivation.Entry[string, string]{Key: "out", Value: string(storepath.OwnPlaceholder("out"))}),
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)})})
	return first, second, floating
}

func all(drv storepath.Path) derivation.DerivedPath {
	return derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}
}

func TestBuild(t *testing.T) {
	var built []string
	s := New(&Options{Build: func(ctx context.Context, s *Store, path storepath.Path, d *derivation.Derivation) error {
		if d.Name == "floating" {
			return errors.New("it does not compile")
		}
		built = append(built, d.Name)
		for name := range d.Outputs.All() {
			o, _ := d.Outputs.Get(name)
			archive := fileNAR([]byte(d.Name))
			info := &store.PathInfo{Path: o.Path(), Deriver: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), Ultimate: true}
			if err := s.AddToStoreNAR(ctx, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
				return err
			}
		}
		return nil
	}})
	first, second, floating := derivations(t, s)
	missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{all(second), derivation.Opaque{Path: absent}, all(absent + ".drv")})
	if err != nil || !slices.Equal(missing.WillBuild, []storepath.Path{min(first, second), max(first, second)}) || len(missing.Unknown) != 2 {
		t.Errorf("%+v, %v", missing, err)
	}
	for range 2 {
		if err := s.BuildPaths(t.Context(), []derivation.DerivedPath{all(first), derivation.Opaque{Path: first}}, store.BuildNormal); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(built, []string{"first"}) {
		t.Errorf("built: %q", built)
	}
	err = s.BuildPaths(t.Context(), []derivation.DerivedPath{all(floating), all(absent + ".drv"), derivation.Opaque{Path: absent}}, store.BuildNormal)
	var failed *store.BuildError
	for _, want := range []string{"it does not compile", "is not valid", "does not exist and cannot be created"} {
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := s.BuildPaths(t.Context(), nil, store.BuildRepair); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("repair: %v", err)
	}
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{all(first), all(second),
		derivation.Built{Drv: derivation.Opaque{Path: first}, Outputs: derivation.NamedOutputs("nothing")}}, store.BuildNormal)
	if err != nil || results[0].Status != store.AlreadyValid || results[1].Status != store.Built || results[1].Outputs["out"].OutPath == "" || results[2].Status != store.MiscFailure {
		t.Errorf("%+v, %v", results, err)
	}
	derivers, err := s.QueryValidDerivers(t.Context(), results[0].Outputs["out"].OutPath)
	if err != nil || !slices.Equal(derivers, []storepath.Path{first}) {
		t.Errorf("%v, %v", derivers, err)
	}
}

func TestRealisations(t *testing.T) {
	s := New(nil)
	_, _, floating := derivations(t, s)
	out, other := text(t, s, "out"), text(t, s, "other")
	byPath := store.DrvOutput{Path: floating, Output: "out"}
	outputs, err := s.QueryDerivationOutputMap(t.Context(), floating)
	if err != nil || len(outputs) != 1 || outputs["out"] != "" {
		t.Errorf("%v, %v", outputs, err)
	}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	for _, sig := range []string{"a:x", "b:x"} {
		r := store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: out, Signatures: []string{sig}}}
		if err := s.RegisterDrvOutput(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: other}}); err == nil {
		t.Error("an output has two paths")
	}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: store.DrvOutput{Path: floating, Output: "dev"}, Realisation: store.Realisation{OutPath: absent}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	// Older clients use the hash instead of the path.
	for _, id := range []store.DrvOutput{byPath, {Hash: s.objects[floating].drv.hash, Output: "out"}} {
		r, err := s.QueryRealisation(t.Context(), id)
		if err != nil || r.OutPath != out || len(r.Signatures) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if outputs, err = s.QueryDerivationOutputMap(t.Context(), floating); err != nil || outputs["out"] != out {
		t.Errorf("%v, %v", outputs, err)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{out}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the path was deleted: %v", err)
	}
}

func collect(t testing.TB, s *Store, opts store.GCOptions) []string {
	t.Helper()
	result, err := s.CollectGarbage(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return result.Paths
}

func TestCollect(t *testing.T) {
	links := map[string]string{}
	s := New(&Options{ReadLink: func(link string) (string, error) {
		if to, ok := links[link]; ok {
			return to, nil
		}
		return "", errors.New("no such link")
	}})
	a := text(t, s, "a")
	b := text(t, s, "b", a)
	c := text(t, s, "c", b)
	other := text(t, s, "other")
	names := func(paths ...storepath.Path) (names []string) {
		for _, p := range paths {
			names = append(names, string(p))
		}
		slices.Sort(names)
		return names
	}
	checkDead := func(when string, dead []string) {
		t.Helper()
		if got := collect(t, s, store.GCOptions{Action: store.GCReturnDead}); !slices.Equal(got, dead) {
			t.Errorf("%s: %q are dead, want %q", when, got, dead)
		}
	}
	checkDead("without roots", names(a, b, c, other))
	if _, err := s.AddPermRoot(t.Context(), b, "/roots/b"); err != nil {
		t.Fatal(err)
	}
	checkDead("with a permanent root", names(c, other))
	links["/home/result"] = string(c) + "/bin"
	if err := s.AddIndirectRoot(t.Context(), "/home/result"); err != nil {
		t.Fatal(err)
	}
	checkDead("with an indirect root", names(other))
	delete(links, "/home/result")
	session := s.newSession()
	if err := session.AddTempRoot(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	checkDead("with a temporary root", names(c))
	roots, err := s.FindRoots(t.Context())
	if err != nil || len(roots) != 2 {
		t.Errorf("%v, %v", roots, err)
	}
	session.Close()
	if got := collect(t, s, store.GCOptions{Action: store.GCReturnLive}); !slices.Equal(got, names(a, b)) {
		t.Errorf("live: %q", got)
	}
	for _, p := range []storepath.Path{a, b} {
		if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{other, p}}); err == nil || !strings.Contains(err.Error(), "since it is still alive") {
			t.Errorf("%v", err)
		}
	}
	if got := collect(t, s, store.GCOptions{Action: store.GCDeleteDead}); len(got) != 0 {
		t.Errorf("with a limit of 0, %q were deleted", got)
	}
	if got := collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1}); len(got) != 1 {
		t.Errorf("with a limit of 1, %q were deleted", got)
	}
	if got := collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); len(got) != 1 {
		t.Errorf("%q were deleted", got)
	}
	if valid, _ := s.QueryAllValidPaths(t.Context()); !slices.Equal(valid, []storepath.Path{min(a, b), max(a, b)}) {
		t.Errorf("left: %q", valid)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{IgnoreLiveness: true}); err == nil {
		t.Error("liveness was ignored")
	}
}

// Referrers are deleted only with DeleteReferrers.
func TestDeleteReferrers(t *testing.T) {
	s := New(nil)
	a := text(t, s, "a")
	b := text(t, s, "b", a)
	opts := store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{a}}
	if _, err := s.CollectGarbage(t.Context(), opts); err == nil {
		t.Error("a path with a referrer was deleted")
	}
	opts.DeleteReferrers = true
	if got := collect(t, s, opts); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if s.has(a) || s.has(b) {
		t.Error("the paths are still valid")
	}
}

// A live output keeps its deriver alive.
func TestKeepDerivations(t *testing.T) {
	s := New(nil)
	first, _, _ := derivations(t, s)
	info, archive := newObject(t, "x")
	info.Path, info.Deriver = s.objects[first].drv.outputs["out"], first
	session := s.newSession()
	if err := session.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	if dead := collect(t, s, store.GCOptions{Action: store.GCReturnDead}); slices.Contains(dead, string(first)) {
		t.Error("the deriver of a live output is dead")
	}
}

// The output paths of a derivation must follow from its text.
func TestWrongDerivation(t *testing.T) {
	s := New(nil)
	wrong := strings.ReplaceAll(`Derive([("out","PATH","","")],[],[],"x","/b",[],[("out","PATH")])`, "PATH", string(absent))
	if _, err := s.AddTextToStore(t.Context(), "absent.drv", wrong, nil); err == nil {
		t.Error("a derivation with a wrong output path was added")
	}
}

func TestFull(t *testing.T) {
	s := New(&Options{MaxSize: 500})
	for _, size := range []int{10_000, 300} {
		_, err := s.AddTextToStore(t.Context(), fmt.Sprint(size), strings.Repeat("x", size), nil)
		if _, again := s.AddTextToStore(t.Context(), fmt.Sprint(size, "b"), strings.Repeat("x", size), nil); !errors.Is(again, ErrFull) {
			t.Errorf("%d: %v", size, again)
		}
		if size > 500 != errors.Is(err, ErrFull) && size == 10_000 {
			t.Errorf("%d: %v", size, err)
		}
	}
}

func TestTempRootLimit(t *testing.T) {
	s := New(nil)
	for i := range MaxTempRoots {
		s.temp.paths[absent+storepath.Path(fmt.Sprint(i))] = true
	}
	if err := s.AddTempRoot(t.Context(), absent); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
}

func TestLogs(t *testing.T) {
	s := New(nil)
	for _, log := range []string{"first", "second"} {
		if err := s.AddBuildLog(t.Context(), absent, strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.BuildLog(absent); got != log || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := s.BuildLog(absent + "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestAddMultiple(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	broken := errors.New("broken")
	objects := func(err error) iter.Seq2[store.Import, error] {
		return func(yield func(store.Import, error) bool) {
			if yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) && err != nil {
				yield(store.Import{}, err)
			}
		}
	}
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddMultipleToStore(t.Context(), 2, objects(broken), opts); err != broken {
		t.Errorf("%v", err)
	}
	if err := s.AddMultipleToStore(t.Context(), 2, objects(nil), opts); err == nil {
		t.Error("no error after too few objects")
	}
	if err := s.AddMultipleToStore(t.Context(), 1, objects(nil), opts); err != nil || !s.has(info.Path) {
		t.Errorf("%v", err)
	}
}

// Concurrent additions, queries and collections: paths that a session has added stay valid until it is closed.
func TestConcurrent(t *testing.T) {
	s := New(nil)
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 50 {
				session := s.newSession()
				path, err := session.AddTextToStore(t.Context(), fmt.Sprintf("%d-%d", worker, i%5), "x", nil)
				if err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
				}
				if valid, err := session.QueryValidPaths(t.Context(), []storepath.Path{path}, false); len(valid) != 1 || err != nil {
					t.Errorf("an added path is not valid: %v", err)
				}
				session.Close()
			}
		})
	}
	workers.Wait()
	collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if s.size != 0 || len(s.objects)+len(s.byHashPart)+len(s.referrers)+len(s.derivers) != 0 {
		t.Errorf("%d bytes and %d objects are left", s.size, len(s.objects))
	}
}
