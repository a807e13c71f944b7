package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pix"
	"pix/daemontest"
	"pix/derivation"
	"pix/internal/testenv"
	"pix/nar"
	"pix/nixhash"
	"pix/profile"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A questionStore is a store with two generations of a system: system needs app, app needs lib, and lib is made from src. The
// package both needs two versions of lib. A tool is garbage. The names of args are the names in the commands.
type questionStore struct {
	t      testing.TB
	s      store.Store
	args   map[string]string
	hashes map[storepath.Path]derivation.ModuloHash // of inputs
	batch  []store.Import
}

// newQuestionStore makes the store in the directory store of a new directory, which becomes the current one. Between app and lib
// are n more packages.
func newQuestionStore(t testing.TB, n int) *questionStore {
	t.Helper()
	dir := t.TempDir()
	testenv.RemoveStore(t, dir)
	t.Chdir(dir)
	q := &questionStore{t: t, args: map[string]string{}, hashes: map[storepath.Path]derivation.ModuloHash{}}
	var err error
	q.s, err = pix.Open(t.Context(), mustAbs(t, "store"), &pix.Options{NoEnvironment: true})
	q.check(err)
	q.addPackages(n)
	q.addSources()
	q.check(store.AddBuildLog(t.Context(), q.s, storepath.Path(q.args["lib2.drv"]), strings.NewReader("compiling lib\ndone\n")))
	_, err = store.AddRoot(t.Context(), q.s, mustAbs(t, "result"), storepath.Path(q.args["both"]))
	q.check(err)
	q.addGenerations()
	q.addCache()
	q.check(q.s.Close())
	return q
}

// addPackages adds the derivations and their outputs.
func (q *questionStore) addPackages(n int) {
	q.t.Helper()
	moved, src := q.fetch("https://b.example/src"), q.fetch("https://a.example/src")
	var libs []*derivation.Derivation
	for _, version := range []string{"1", "2"} {
		lib := q.pkg("lib", version, src)
		inputs := []*derivation.Derivation{lib}
		for i := range n {
			inputs = append(inputs, q.pkg(fmt.Sprintf("part%d", i), "3", inputs[i], inputs[i/2], inputs[i*2/3]))
		}
		app := q.pkg("app", "5", inputs...)
		q.pkg("system", "25", app)
		for _, name := range []string{"lib", "app", "system"} {
			q.args[name+version], q.args[name+version+".drv"] = q.args[name], q.args[name+".drv"]
		}
		libs = append(libs, lib)
	}
	q.pkg("both", "4", libs...)
	q.pkg("lib", "1", moved)
	q.args["moved.drv"] = q.args["lib.drv"]
	q.pkg("tool", "1")
	unbuilt := q.derivation("new-1", libs...)
	q.add("new", unbuilt)
	q.flush()
}

// addSources adds the two checkouts of a source, in which one file has different modes, and writes files.
func (q *questionStore) addSources() {
	q.t.Helper()
	for _, name := range []string{"here", "there"} {
		q.check(os.MkdirAll(name, 0o777))
		q.check(os.WriteFile(filepath.Join(name, "README"), []byte("read me\n"), 0o666))
		q.check(os.WriteFile(filepath.Join(name, "configure"), []byte("#!/bin/sh\n"), 0o666))
		if name == "here" {
			q.check(os.Chmod("here/configure", 0o755))
		}
		info, err := store.AddPath(q.t.Context(), q.s, "source", name, nil, nil)
		q.check(err)
		q.args[name] = string(info.Path)
	}
	q.check(os.WriteFile("file", []byte("hi"), 0o666))
	var archive bytes.Buffer
	q.check(nar.Dump(q.t.Context(), &archive, "here", nil))
	q.check(os.WriteFile("here.nar", archive.Bytes(), 0o666))
}

// addGenerations makes the systems two generations of a profile.
func (q *questionStore) addGenerations() {
	q.t.Helper()
	link := mustAbs(q.t, "store/nix/var/nix/profiles/system")
	q.check(os.MkdirAll(filepath.Dir(link), 0o777))
	p, err := profile.New(q.s.Dir(), link)
	q.check(err)
	for _, name := range []string{"system1", "system2"} {
		_, err := p.Set(q.t.Context(), q.s, storepath.Path(q.args[name]))
		q.check(err)
	}
	q.args["profile"] = "store/nix/var/nix/profiles/system"
}

// addCache copies one version of lib to the binary cache in the directory cache.
func (q *questionStore) addCache() {
	q.t.Helper()
	q.check(os.MkdirAll("cache", 0o777))
	var stderr bytes.Buffer
	args := []string{"copy", "--from", "./store", "--to", "file://" + mustAbs(q.t, "cache"), q.args["lib2"]}
	if code := run(args, strings.NewReader(""), new(bytes.Buffer), &stderr, func(string) string { return "" }); code != 0 {
		q.t.Fatalf("copy: exit code %d\n%s", code, stderr.String())
	}
	key, err := signature.ParseSecretKey(exampleKey)
	q.check(err)
	q.args["key"] = key.Public().String()
	q.args["lib2.hash"] = storepath.Path(q.args["lib2"]).HashPart()
	q.args["cache"] = "file://" + mustAbs(q.t, "cache")
}

func mustAbs(t testing.TB, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func (q *questionStore) check(err error) {
	q.t.Helper()
	if err != nil {
		q.t.Fatal(err)
	}
}

// fetch adds a derivation that downloads the source.
func (q *questionStore) fetch(url string) *derivation.Derivation {
	q.t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("source")))
	q.check(err)
	d := &derivation.Derivation{Name: "src", Dir: q.s.Dir(), Platform: "builtin", Builder: "builtin:fetchurl"}
	d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
	d.Env.Set("url", url)
	d.Env.Set("out", "")
	q.add("src", d)
	return d
}

// derivation returns a derivation with these inputs.
func (q *questionStore) derivation(name string, inputs ...*derivation.Derivation) *derivation.Derivation {
	q.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: q.s.Dir(), Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	_, version, _ := strings.Cut(name, "-")
	d.Env.Set("version", version)
	d.Env.Set("out", "")
	for _, in := range inputs {
		path, err := in.Path()
		q.check(err)
		d.InputDerivations.Set(path, derivation.OutputsOf("out"))
		o, _ := in.Outputs.Get("out")
		d.Env.Set("input", string(o.Path()))
	}
	return d
}

// pkg adds a derivation with its inputs, and its output, which mentions the outputs of the inputs.
func (q *questionStore) pkg(name, version string, inputs ...*derivation.Derivation) *derivation.Derivation {
	q.t.Helper()
	d := q.derivation(name+"-"+version, inputs...)
	drv := q.add(name, d)
	o, _ := d.Outputs.Get("out")
	q.args[name] = string(o.Path())
	text := "version " + version + "\n"
	references := make(map[storepath.Path]bool)
	for _, in := range inputs {
		if o, _ := in.Outputs.Get("out"); o.Kind() != derivation.Fixed && !references[o.Path()] {
			references[o.Path()] = true
			text += "loads " + string(o.Path()) + "\n"
		}
	}
	q.addOutput(&store.PathInfo{Path: o.Path(), Deriver: drv, References: slices.Sorted(maps.Keys(references))}, text)
	return d
}

// add adds a derivation with the hashes of its inputs.
func (q *questionStore) add(name string, d *derivation.Derivation) storepath.Path {
	q.t.Helper()
	inputs := func(p storepath.Path) (derivation.ModuloHash, bool) { h, ok := q.hashes[p]; return h, ok }
	q.check(d.FillOutputPaths(inputs, nil))
	path, err := d.Path()
	q.check(err)
	q.hashes[path], err = d.HashModulo(derivation.AsInput, inputs, nil)
	q.check(err)
	q.addObject(d)
	q.args[name+".drv"] = string(path)
	return path
}

// addObject adds the file of a derivation.
func (q *questionStore) addObject(d *derivation.Derivation) {
	q.t.Helper()
	references := d.References()
	object, err := store.ImportText(q.s.Dir(), d.Name+".drv", d.String(), references.Slice())
	q.check(err)
	q.batch = append(q.batch, object)
}

// addOutput adds a directory with a text, signed by the example key.
func (q *questionStore) addOutput(info *store.PathInfo, text string) {
	q.t.Helper()
	var archive bytes.Buffer
	files := fstest.MapFS{"out/bin/start": {Data: []byte(text)}}
	q.check(nar.DumpFS(q.t.Context(), &archive, files, "out", nil))
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive.Bytes()), uint64(archive.Len())
	key, err := signature.ParseSecretKey(exampleKey)
	q.check(err)
	q.check(info.Sign(key))
	q.batch = append(q.batch, store.Import{Info: info, NAR: &archive})
}

// flush adds the collected objects to the store.
func (q *questionStore) flush() {
	q.t.Helper()
	all := func(yield func(store.Import, error) bool) {
		for _, object := range q.batch {
			if !yield(object, nil) {
				return
			}
		}
	}
	q.check(store.AddMultiple(q.t.Context(), q.s, len(q.batch), all, &store.AddOptions{NoSignatures: true}))
	q.batch = nil
}

// serve starts a daemon for the store, and records a conversation with it.
func (q *questionStore) serve() {
	q.t.Helper()
	s, err := pix.Open(q.t.Context(), mustAbs(q.t, "store"), &pix.Options{NoEnvironment: true})
	q.check(err)
	q.t.Cleanup(func() { q.check(s.Close()) })
	q.args["daemon"] = daemontest.New(q.t, &daemontest.Options{Store: s}).Socket()
	q.args["trace"] = "trace"
	if code, out := q.ask("monitor --record trace {daemon} -- pix path-info {lib2}"); code != 0 {
		q.t.Fatalf("monitor: exit code %d\n%s", code, out)
	}
}
