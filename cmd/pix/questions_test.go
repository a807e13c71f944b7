package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pix"
	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A questionStore is a store with two generations of a system: system needs app, app needs lib, and lib is made from src. A tool
// is garbage. The names of the fields are the arguments of the commands.
type questionStore struct {
	t    *testing.T
	s    store.Store
	args map[string]string
}

// newQuestionStore makes the store in a new directory, which becomes the current one.
func newQuestionStore(t *testing.T) *questionStore {
	t.Helper()
	t.Chdir(t.TempDir())
	q := &questionStore{t: t, args: map[string]string{}}
	var err error
	q.s, err = pix.Open(t.Context(), mustAbs(t, "store"), &pix.Options{NoEnvironment: true})
	q.check(err)
	moved, src := q.fetch("https://b.example/src"), q.fetch("https://a.example/src")
	for _, version := range []string{"1", "2"} {
		lib := q.pkg("lib", version, src)
		app := q.pkg("app", "5", lib)
		q.pkg("system", "25", app)
		for _, name := range []string{"lib", "app", "system"} {
			q.args[name+version], q.args[name+version+".drv"] = q.args[name], q.args[name+".drv"]
		}
	}
	q.pkg("lib", "1", moved)
	q.args["moved.drv"] = q.args["lib.drv"]
	q.pkg("tool", "1")
	_, err = store.AddRoot(t.Context(), q.s, mustAbs(t, "result"), storepath.Path(q.args["system2"]))
	q.check(err)
	q.check(os.WriteFile("file", []byte("hi"), 0o666))
	q.check(q.s.Close())
	return q
}

func mustAbs(t *testing.T, name string) string {
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

// pkg adds a derivation with an input, and its output, which mentions the output of the input.
func (q *questionStore) pkg(name, version string, inputs ...*derivation.Derivation) *derivation.Derivation {
	q.t.Helper()
	d := &derivation.Derivation{Name: name + "-" + version, Dir: q.s.Dir(), Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("version", version)
	d.Env.Set("out", "")
	var references []storepath.Path
	for _, in := range inputs {
		path, err := in.Path()
		q.check(err)
		d.InputDerivations.Set(path, derivation.OutputsOf("out"))
		o, _ := in.Outputs.Get("out")
		d.Env.Set("input", string(o.Path()))
		if o.Kind() != derivation.Fixed {
			references = append(references, o.Path())
		}
	}
	drv := q.add(name, d)
	o, _ := d.Outputs.Get("out")
	q.args[name] = string(o.Path())
	text := "version " + version + "\n"
	for _, p := range references {
		text += "loads " + string(p) + "\n"
	}
	q.addOutput(&store.PathInfo{Path: o.Path(), Deriver: drv, References: references}, text)
	return d
}

// add adds a derivation with the hashes of its inputs.
func (q *questionStore) add(name string, d *derivation.Derivation) storepath.Path {
	q.t.Helper()
	inputs, err := derivation.LoadInputHashes(q.t.Context(), store.Derivations(q.s), d)
	q.check(err)
	q.check(d.FillOutputPaths(inputs, nil))
	path, err := store.AddDerivation(q.t.Context(), q.s, d)
	q.check(err)
	q.args[name+".drv"] = string(path)
	return path
}

// addOutput adds a directory with a text, signed by the example key.
func (q *questionStore) addOutput(info *store.PathInfo, text string) {
	q.t.Helper()
	dir := q.t.TempDir()
	q.check(os.MkdirAll(filepath.Join(dir, "bin"), 0o777))
	q.check(os.WriteFile(filepath.Join(dir, "bin", "start"), []byte(text), 0o666))
	var archive bytes.Buffer
	q.check(nar.Dump(context.Background(), &archive, dir, nil))
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive.Bytes()), uint64(archive.Len())
	key, err := signature.ParseSecretKey(exampleKey)
	q.check(err)
	q.check(info.Sign(key))
	q.check(store.AddNAR(q.t.Context(), q.s, info, &archive, &store.AddOptions{NoSignatures: true}))
}

// questions are questions from public issues and forum posts about Nix, the command that answers each, and a part of the answer.
// {NAME} stands for a path of the store.
var questions = []struct {
	question, command string
	code              int
	answer            string
}{
	{"Why is this package in my closure?", "why-depends {system2} {lib2}", 0, `(?s)^{system2}\n  /bin/start\n  {app2}\n    /bin/start\n    {lib2}\n$`},
	{"Which files contain the reference?", "why-depends {app2} {lib2}", 0, `\n  /bin/start\n`},
	{"By which ways does it depend on it?", "why-depends --all {system2} {lib2}", 0, `(?m)^{app2} -> {lib2}$`},
	{"The tool says that it does not depend on it. Does it?", "why-depends {system2} {lib1}", 1, `does not need '{lib1}'`},
	{"Why does the derivation need that at build time?", "why-depends {system2.drv} {src.drv}", 0, `{lib2.drv}`},
	{"What is big in my closure?", "path-info -r --table --sort nar-size {system2}", 0, `{system2}`},
	{"How big is the image with all dependencies?", "path-info -S {system2}", 0, `^{system2}\s+\d+\n$`},
	{"How much would I save without this dependency?", "path-info -r --table --sort added-size {system2}", 0, `(?i)added`},
	{"What is in the closure?", "closure {system2}", 0, `(?m)^{lib2}$`},
	{"What does the dependency tree look like?", "tree --sizes {system2}", 0, `{app2}`},
	{"What depends on this path?", "referrers {lib2}", 0, `^{app2}\n$`},
	{"What in the store depends on it, directly or not?", "referrers --closure {lib2}", 0, `(?m)^{system2}$`},
	{"What changed between two generations?", "diff {system1} {system2}", 0, `lib: 1 (→|->) 2`},
	{"Can a program read what changed?", "diff --json {system1} {system2}", 0, `"lib"`},
	{"Why is this path not collected?", "gc --explain {lib2}", 0, `(?s)result\n.*{system2}\n.*{app2}\n.*{lib2}`},
	{"No root is listed for the path. Is it garbage?", "gc --explain {tool}", 1, `{tool} is garbage: no root needs it`},
	{"Which roots keep this path?", "roots {lib2}", 0, `result -> {system2}`},
	{"What would the collector delete?", "gc --dry-run", 0, `(?m)^{tool}$`},
	{"Why was this built again?", "explain --why-rebuilt {system1.drv} {system2.drv}", 1, `(?s)2\. variable version of lib-1\n   through system-25 <- app-5 <- lib-2\n   - 1\n   \+ 2\n`},
	{"Which packages are only rebuilt because of others?", "explain --why-rebuilt {system1.drv} {system2.drv}", 1, `(?s)only because of their inputs: 2\n   {system2.drv}\n   {app2.drv}`},
	{"I changed the URL of a source. Why is nothing built again?", "explain --why-rebuilt {lib1.drv} {moved.drv}", 0, `The outputs have the same paths`},
	{"Which input changed the hash?", "explain --against {app1.drv} {app2.drv}", 1, `(?s)The modulo hash: differs.*in {lib1.drv}.*in {lib2.drv}`},
	{"Which derivations affect the output hash?", "explain --affects {lib2.drv}", 0, `changes its outputs: 2\n`},
	{"Where does the hash in the store path come from?", "explain {lib2}", 0, `output:out:sha256:[0-9a-f]{64}:/nix/store:lib-2\n(?s).*= {lib2}\n`},
	{"Which derivation made this path?", "derivers {lib2}", 0, `^{lib2.drv}\n$`},
	{"What is in this derivation?", "drv-show {lib2}", 0, `"version": "2"`},
	{"What differs between two derivations?", "drv-diff {system1.drv} {system2.drv}", 1, `because: name of lib-1; variable version of lib-1`},
	{"It lacks a signature by a trusted key. Who signed it?", "explain --signatures --trusted-public-keys= {lib2}", 1, `no trusted key has the name "cache.example.org-0"`},
	{"What text does a signature sign?", "explain --signatures --trusted-public-keys= {lib2}", 1, `= 1;{lib2};sha256:[0-9a-z]{52};\d+;\n`},
	{"Which path would this file get?", "store-path --mode flat --name src file", 0, `^/nix/store/[0-9a-z]{32}-src\n$`},
	{"How is this hash spelled elsewhere?", "explain sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", 0, `= 1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n`},
	{"What are the output paths of a derivation that is not built?", "outputs {src.drv}", 0, `-src`},
	{"Is the path unchanged since it was built?", "verify --no-trust {lib2}", 0, ``},
}

// Each question is answered by one command.
func TestQuestions(t *testing.T) {
	q := newQuestionStore(t)
	var names []string
	for name, path := range q.args {
		names = append(names, "{"+name+"}", path)
	}
	for _, c := range questions {
		args := strings.Fields(strings.NewReplacer(names...).Replace(c.command))
		args = append([]string{"--store", "./store"}, args...)
		var stdout, stderr bytes.Buffer
		code := run(args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
		answer := strings.NewReplacer(quoted(names)...).Replace(c.answer)
		if out := stdout.String() + stderr.String(); code != c.code || !regexp.MustCompile(answer).MatchString(out) {
			t.Errorf("%s\npix %s: exit code %d, want %d, and no match for %s in\n%s", c.question, c.command, code, c.code, answer, out)
		}
	}
}

// quoted returns pairs of names and values with the values quoted for regular expressions.
func quoted(pairs []string) []string {
	out := append([]string(nil), pairs...)
	for i := 1; i < len(out); i += 2 {
		out[i] = regexp.QuoteMeta(out[i])
	}
	return out
}
