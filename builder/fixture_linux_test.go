package builder

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A fixture is a build whose builder has exited: the test has made what it left behind.
type fixture struct {
	*build
	t     *testing.T
	local *localstore.Store
}

// newDerivation returns a derivation with these outputs.
func newDerivation(t *testing.T, name string, env map[string]string, outputs map[string]derivation.Output) *derivation.Derivation {
	t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	for name, o := range outputs {
		d.Outputs.Set(name, o)
		d.Env.Set(name, "")
	}
	d.Env.Set("name", name)
	for key, value := range env {
		d.Env.Set(key, value)
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// inputAddressed returns that many outputs: out, dev, lib.
func inputAddressed(names ...string) map[string]derivation.Output {
	outputs := make(map[string]derivation.Output)
	for _, name := range names {
		outputs[name] = derivation.DeferredOutput()
	}
	return outputs
}

// newFixture returns a sandboxed build of a derivation in a store.
func newFixture(t *testing.T, s *localstore.Store, d *derivation.Derivation) *fixture {
	t.Helper()
	options, err := d.Options()
	if err != nil {
		t.Fatal(err)
	}
	kind, err := d.Kind()
	if err != nil {
		t.Fatal(err)
	}
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTextToStore(t.Context(), d.Name+".drv", d.String(), d.InputSources.Slice()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, local: s, build: &build{
		store: s, opts: &Options{}, req: &Request{Path: path, Derivation: d}, drv: d, handler: activity.HandlerFunc(func(activity.Event) {}), options: options, kind: kind,
		closure: make(map[storepath.Path]bool), root: filepath.Join(t.TempDir(), "root"),
	}}
	// The root of the sandbox is on the file system of the store.
	f.chroot = &chroot{top: s.ObjectFile(path) + chrootExt}
	f.root = filepath.Join(f.chroot.top, "root")
	f.chroot.root = f.root
	if err := os.MkdirAll(filepath.Join(f.root, string(s.Dir())), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, o := range d.Outputs.All() {
		out := &output{name: name, path: o.Path(), scratch: o.Path()}
		if out.scratch == "" {
			out.scratch = scratchFor(t, path, name, storepath.OutputName(d.Name, name))
		}
		f.outputs = append(f.outputs, out)
	}
	return f
}

// scratchFor returns the scratch path of an output whose path is not known.
func scratchFor(t *testing.T, drv storepath.Path, output, name string) storepath.Path {
	t.Helper()
	zero, err := nixhash.FromDigest(nixhash.SHA256, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	p, err := drv.Dir().MakePath("rewrite:"+drv.Base()+":name:"+output, zero, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fixture) output(name string) *output {
	i := slices.IndexFunc(f.outputs, func(o *output) bool { return o.name == name })
	return f.outputs[i]
}

// file returns where the builder has put an output, or a file in it.
func (f *fixture) file(name string, below ...string) string {
	return filepath.Join(append([]string{f.outputFile(f.output(name))}, below...)...)
}

// write makes an output that is a file.
func (f *fixture) write(name, text string) {
	f.t.Helper()
	writeFile(f.t, f.file(name), text, 0o644)
}

// finish finishes a build that succeeds.
func (f *fixture) finish() map[string]store.Realisation {
	f.t.Helper()
	outputs, err := f.finishOutputs(f.t.Context())
	if err != nil {
		f.t.Fatalf("%s: %v", f.req.Derivation.Name, err)
	}
	f.checkStore()
	return outputs
}

// fail finishes a build that fails with that text, in which ROOT stands for the root of the sandbox.
func (f *fixture) fail(status store.BuildStatus, text string) *Failure {
	f.t.Helper()
	_, err := f.finishOutputs(f.t.Context())
	failure, ok := errors.AsType[*Failure](err)
	text = strings.ReplaceAll(text, "ROOT", f.root)
	if !ok || failure.Status != status || failure.Message != text {
		f.t.Errorf("%s: %v\nwant %v: %s", f.req.Derivation.Name, err, status, text)
	}
	f.checkStore()
	return failure
}

// checkStore checks that everything that is registered is whole, and that nothing else is left in the store.
func (f *fixture) checkStore() {
	f.t.Helper()
	if remain, err := f.local.VerifyStore(f.t.Context(), true, false); remain || err != nil {
		f.t.Errorf("the store is damaged: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(f.local.ObjectFile(f.req.Path)))
	if err != nil {
		f.t.Error(err)
	}
	for _, e := range entries {
		path, err := f.local.Dir().ParseBase(e.Name())
		if err != nil || strings.HasSuffix(e.Name(), ".chroot") || strings.HasSuffix(e.Name(), ".check") {
			continue
		}
		if valid, err := f.local.IsValidPath(f.t.Context(), path); !valid || err != nil {
			f.t.Errorf("left in the store: %s %v", e.Name(), err)
		}
	}
}

// info returns what the store knows of a path.
func (f *fixture) info(path storepath.Path) *store.PathInfo {
	f.t.Helper()
	info, err := f.local.QueryPathInfo(f.t.Context(), path)
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

func (f *fixture) contents(path storepath.Path, below ...string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{f.local.ObjectFile(path)}, below...)...))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}
