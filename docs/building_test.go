package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pix"
	"pix/activity"
	"pix/builder"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// A workshop is a store whose builders see one program of this machine, such as /bin/look.
type workshop struct {
	t     *testing.T
	store store.Store
	root  string // the directory of the store
}

// newWorkshop compiles the program of that name, and opens a new store, which fetches from the substituters.
func newWorkshop(t *testing.T, program string, substituters ...string) *workshop {
	t.Helper()
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, program)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file, "./testdata/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // there are no shared libraries in the sandbox
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := filepath.Join(dir, "store")
	s, err := pix.Open(t.Context(), root, &pix.Options{NoEnvironment: true, Substituters: substituters, Local: &localstore.Options{NoSignatures: true}, Builds: &pix.Builds{Options: builder.Options{
		System: "x86_64-linux", SystemFeatures: []string{"ca-derivations"}, Cores: 4,
		SandboxPaths: []builder.SandboxPath{{Target: "/bin/" + program, Source: file, ReadOnly: true}},
		Shell:        file, // so that the page does not depend on the machine
		LogCommand:   "pix log",
	}}})
	checkErr(t, err)
	t.Cleanup(func() { s.Close() })
	return &workshop{t, s, root}
}

// add adds a derivation whose builder is /bin/look.
func (w *workshop) add(name string, args ...string) storepath.Path {
	w.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: w.store.Dir(), Platform: "x86_64-linux", Builder: "/bin/look", Args: args}
	d.Env.Set("name", name)
	d.Env.Set("out", "")
	d.Outputs.Set("out", derivation.DeferredOutput())
	for _, arg := range args {
		path, err := w.store.Dir().Parse(arg)
		checkErr(w.t, err)
		d.InputSources.Add(path)
	}
	checkErr(w.t, d.FillOutputPaths(nil, nil))
	path, err := store.AddText(w.t.Context(), w.store, name+".drv", d.String(), d.References().Slice())
	checkErr(w.t, err)
	return path
}

// build builds a derivation, and returns the result and the lines of the log.
func (w *workshop) build(drv storepath.Path, mode store.BuildMode) (*store.BuildResult, string) {
	w.t.Helper()
	var mu sync.Mutex
	var log strings.Builder
	ctx := activity.WithHandler(w.t.Context(), activity.HandlerFunc(func(e activity.Event) {
		mu.Lock()
		defer mu.Unlock()
		if line, ok := activity.Line(e); ok {
			fmt.Fprintln(&log, line)
		}
	}))
	results, err := store.BuildPathsWithResults(ctx, w.store, []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()},
	}, mode)
	checkErr(w.t, err)
	mu.Lock()
	defer mu.Unlock()
	return &results[0].BuildResult, log.String()
}

// info describes a valid path.
func (w *workshop) info(ctx context.Context, path storepath.Path) string {
	w.t.Helper()
	info, err := w.store.QueryPathInfo(ctx, path)
	checkErr(w.t, err)
	return table(
		"path\t"+string(info.Path), "deriver\t"+string(info.Deriver), "nar-hash\t"+info.NARHash.SRI(), fmt.Sprintf("nar-size\t%d", info.NARSize),
		fmt.Sprintf("references\t%s", info.References), fmt.Sprintf("ultimate\t%t", info.Ultimate),
	)
}

func TestBuildingPage(t *testing.T) {
	w := newWorkshop(t, "look")
	ctx := t.Context()
	input, err := store.AddText(ctx, w.store, "words", "hello\n", nil)
	checkErr(t, err)
	good, bad := w.add("page", string(input)), w.add("fails")
	text, err := store.Derivations(w.store).LoadDerivation(ctx, good)
	checkErr(t, err)
	first, log := w.build(good, store.BuildNormal)
	out := first.Outputs["out"].OutPath
	second, _ := w.build(good, store.BuildNormal)
	check2, _ := w.build(good, store.BuildCheck)
	failed, _ := w.build(bad, store.BuildNormal)
	check(t, "building.md", map[string]string{
		"derivation": text,
		"log":        log,
		"output":     w.info(ctx, out),
		"statuses":   table("the first build\t"+first.Status.String(), "the second build\t"+second.Status.String(), "a check\t"+check2.Status.String(), "the builder that fails\t"+failed.Status.String()),
		"failure":    failed.Message,
	})
}
