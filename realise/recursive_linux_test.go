package realise_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix"
	"pix/activity"
	"pix/builder"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// A recursion is a store in which builders use the store.
type recursion struct {
	t         *testing.T
	store     store.Store
	root      string
	dir       storepath.Dir
	program   string // the builder, as it sees itself
	sandboxed bool
	input     storepath.Path
	secret    storepath.Path
	log       func(line string)

	mu    sync.Mutex
	lines []string
}

// ways are the ways in which builds run.
var ways = map[string]func(*builder.Options){
	"sandboxed":  func(o *builder.Options) { o.AsRoot = true },
	"build user": func(o *builder.Options) { o.AutoAllocateUIDs = true },
	"open":       func(o *builder.Options) { o.AsRoot, o.Sandbox = true, builder.SandboxNone },
}

// machine is the system of this machine.
var machine = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64"}[runtime.GOARCH] + "-linux"

// inEachWay runs a test with and without a sandbox, and with and without a build user.
func inEachWay(t *testing.T, f func(t *testing.T, r *recursion)) {
	for name := range ways {
		t.Run(name, func(t *testing.T) { f(t, newRecursion(t, name)) })
	}
}

// newRecursion returns a store for builds in one way. params are parameters of its URI.
func newRecursion(t *testing.T, way string, params ...string) *recursion {
	t.Helper()
	r := &recursion{t: t, sandboxed: way != "open"}
	if way == "build user" && os.Geteuid() != 0 {
		t.Skip("only root has build users")
	}
	if err := sandbox.Check(t.Context()); err != nil && r.sandboxed {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	root := t.TempDir()
	r.root = root
	testenv.RemoveStore(t, root)
	opts, uri := buildsIn(way, testProgram(t)), root
	if r.sandboxed {
		r.program, r.dir = "/program", storepath.DefaultDir
	} else {
		var err error
		if r.dir, err = storepath.ParseDir(filepath.Join(root, "store")); err != nil {
			t.Fatal(err)
		}
		r.program, uri, opts.StoreDir = testProgram(t), "local", r.dir
		opts.Local = &localstore.Options{StoreDir: string(r.dir), StateDir: filepath.Join(root, "state"), LogDir: filepath.Join(root, "log")}
	}
	if len(params) > 0 {
		uri += "?" + strings.Join(params, "&")
	}
	var err error
	if r.store, err = pix.Open(t.Context(), uri, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	r.input, r.secret = r.text("input", "input"), r.text("secret", "secret")
	return r
}

// buildsIn returns the options of a store that builds in one way.
func buildsIn(way, program string) *pix.Options {
	opts := &pix.Options{NoEnvironment: true, Builds: &pix.Builds{MaxJobs: 1}}
	o := &opts.Builds.Options
	ways[way](o)
	o.SystemFeatures = []string{"recursive-nix", "builder-rpc-v0", "ca-derivations", "uid-range"}
	if o.Sandbox != builder.SandboxNone {
		o.SandboxPaths = []builder.SandboxPath{{Target: "/program", Source: program, ReadOnly: true}}
		for _, dir := range []string{"/lib", "/lib64", "/usr"} {
			o.SandboxPaths = append(o.SandboxPaths, builder.SandboxPath{Target: dir, Optional: true, ReadOnly: true})
		}
	}
	return opts
}

// testProgram returns a copy of this program that every user can execute.
func testProgram(t *testing.T) string {
	t.Helper()
	program, err := copyProgram()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// programDir is the directory of the copy; "" before the first one.
var programDir string

var copyProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pix-realise-")
	if err != nil {
		return "", err
	}
	programDir = dir
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "program"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	return to.Name(), errors.Join(err, to.Close(), os.Chmod(dir, 0o755), os.Chmod(to.Name(), 0o755))
})

func (r *recursion) text(name, text string) storepath.Path {
	r.t.Helper()
	path, err := store.AddText(r.t.Context(), r.store, name, text, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// derivation adds a derivation whose builder runs a function and may use the store.
func (r *recursion) derivation(function string, change func(*derivation.Derivation)) derivation.Built {
	r.t.Helper()
	d := &derivation.Derivation{Name: function, Dir: r.dir, Platform: machine, Builder: r.program}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.InputSources = derivation.SetOf(r.input)
	for name, value := range map[string]string{
		"test": function, "name": function, "system": d.Platform, "program": r.program, "requiredSystemFeatures": "recursive-nix",
		"input": string(r.input), "secret": string(r.secret), "text": "text", "out": "", "GORACE": "atexit_sleep_ms=0",
	} {
		d.Env.Set(name, value)
	}
	if r.sandboxed {
		d.Env.Set("sandboxed", "1")
	}
	if change != nil {
		change(d)
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		r.t.Fatal(err)
	}
	path, err := store.AddText(r.t.Context(), r.store, d.Name+".drv", d.String(), d.References().Slice())
	if err != nil {
		r.t.Fatal(err)
	}
	return derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.NamedOutputs("out")}
}

// try builds a derivation, and returns the output.
func (r *recursion) try(ctx context.Context, drv derivation.Built) (storepath.Path, error) {
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		result, ok := e.(activity.Result)
		if !ok || result.Type != activity.BuildLogLine {
			return
		}
		line := fmt.Sprint(result.Fields)
		r.mu.Lock()
		r.lines = append(r.lines, line)
		r.mu.Unlock()
		if r.log != nil {
			r.log(line)
		}
	}))
	results, err := store.BuildPathsWithResults(ctx, r.store, []derivation.DerivedPath{drv}, store.BuildNormal)
	if err == nil && (len(results) != 1 || !results[0].Status.Succeeded()) {
		err = fmt.Errorf("%+v", results)
	}
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, strings.Join(r.lines, "\n"))
	}
	return results[0].Outputs["out"].OutPath, nil
}

// build builds a derivation, which must succeed, and returns the info of the output.
func (r *recursion) build(drv derivation.Built) *store.PathInfo {
	r.t.Helper()
	out, err := r.try(r.t.Context(), drv)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := r.store.QueryPathInfo(r.t.Context(), out)
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

// Paths that a builder adds and builds are there, and its output refers to them. There is one slot, which the build
// lends to the one that it asks for.
func TestRecursive(t *testing.T) {
	inEachWay(t, func(t *testing.T, r *recursion) {
		info := r.build(r.derivation("use", nil))
		var names []string
		for _, ref := range info.References {
			names = append(names, ref.Name())
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"added", "inner"}) {
			t.Errorf("the output refers to %q", names)
		}
	})
}

// A builder with a range of users, which has capabilities in its sandbox, can use the store too.
func TestRecursiveRange(t *testing.T) {
	r := newRecursion(t, "build user")
	r.build(r.derivation("use", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "recursive-nix uid-range") }))
}

// A builder learns nothing of a path that is not an input, and its output cannot refer to it.
func TestRecursiveSecret(t *testing.T) {
	inEachWay(t, func(t *testing.T, r *recursion) {
		if info := r.build(r.derivation("secret", nil)); len(info.References) > 0 {
			t.Errorf("the output refers to %q", info.References)
		}
	})
}

// Operations that Nix refuses are refused with its texts.
func TestRecursiveRefused(t *testing.T) {
	r := newRecursion(t, "open")
	r.build(r.derivation("refused", nil))
}

// A builder can open too many connections and send garbage, and uses the store afterwards.
func TestRecursiveConnections(t *testing.T) {
	r := newRecursion(t, "open")
	r.build(r.derivation("connections", nil))
}

// Connections can add the same paths at once, and each has them when its call returns.
func TestRecursiveAdds(t *testing.T) {
	inEachWay(t, func(t *testing.T, r *recursion) { r.build(r.derivation("adds", nil)) })
}

// Builders that builders ask for can ask for others, and one builder can ask for several at once.
func TestRecursiveNested(t *testing.T) {
	r := newRecursion(t, "sandboxed")
	info := r.build(r.derivation("deeper", func(d *derivation.Derivation) { d.Env.Set("depth", "3") }))
	if len(info.References) != 1 {
		t.Errorf("the output refers to %q", info.References)
	}
	r.build(r.derivation("parallel", nil))
}

// The builds that a builder has asked for end with it.
func TestRecursiveEnd(t *testing.T) {
	inEachWay(t, func(t *testing.T, r *recursion) {
		start := time.Now()
		r.build(r.derivation("leave", nil))
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the build took %v", took)
		}
	})
}

// The end of a call ends the builds that its builders have asked for.
func TestRecursiveCancel(t *testing.T) {
	inEachWay(t, func(t *testing.T, r *recursion) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("enough"))
		defer cancel()
		start := time.Now()
		drv := r.derivation("leave", func(d *derivation.Derivation) { d.Env.Set("test", "sleep") })
		if _, err := r.try(ctx, drv); err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the end took %v", took)
		}
	})
}

// A builder that asks for its own output would wait for itself.
func TestRecursiveSameOutput(t *testing.T) {
	r := newRecursion(t, "open")
	r.build(r.derivation("same", func(d *derivation.Derivation) {
		fixed, err := fixedOutput("text")
		if err != nil {
			t.Fatal(err)
		}
		d.Outputs.Set("out", fixed)
	}))
}

// A collector leaves the paths that a builder has added, also after the connection was closed.
func TestRecursiveCollector(t *testing.T) {
	r := newRecursion(t, "open")
	r.log = func(line string) {
		if strings.Contains(line, "added") {
			if _, err := store.CollectGarbage(t.Context(), r.store, store.GCOptions{Action: store.GCDeleteDead}); err != nil {
				t.Error(err)
			}
		}
	}
	if info := r.build(r.derivation("keep", nil)); len(info.References) != 1 {
		t.Errorf("the output refers to %q", info.References)
	}
}
