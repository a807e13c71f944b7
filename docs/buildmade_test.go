package docs_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/store"
	"pix/storepath"
)

// leaflet declares a package with two inputs, and mentions one of them in its output.
func leaflet() (*pixpkgs.Package, error) {
	words, err := pixpkgs.Text("words", "hello\n")
	if err != nil {
		return nil, err
	}
	ink, err := ink()
	if err != nil {
		return nil, err
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "leaflet", System: "x86_64-linux", Builder: "/bin/write",
		Args: []any{pixpkgs.Sprintf("the words are in %s", words)},
		Env:  map[string]any{"ink": ink},
	})
}

// ink declares an input that a cache has already.
func ink() (*pixpkgs.Package, error) {
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "ink", System: "x86_64-linux", Builder: "/bin/write", Args: []any{"black"},
	})
}

// mirror declares a package whose path follows from its contents, which mention that path.
func mirror(comment string) (*pixpkgs.Package, error) {
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "mirror", System: "x86_64-linux", Builder: "/bin/write",
		Args: []any{"I am in OUT"}, Env: map[string]any{"comment": comment},
		ContentAddressed: true,
	})
}

// frame declares a package that needs a mirror.
func frame(mirror *pixpkgs.Package) (*pixpkgs.Package, error) {
	return pixpkgs.Derive(pixpkgs.Spec{
		Name: "frame", System: "x86_64-linux", Builder: "/bin/write",
		Args: []any{pixpkgs.Sprintf("around %s", mirror)}, ContentAddressed: true,
	})
}

// valid returns the names of all valid paths.
func (w *workshop) valid() string {
	w.t.Helper()
	paths, err := store.AllValidPaths(w.t.Context(), w.store)
	checkErr(w.t, err)
	return strings.Join(pathNames(paths), "\n")
}

// pathNames returns the names of paths, sorted.
func pathNames(paths []storepath.Path) (all []string) {
	for _, p := range paths {
		all = append(all, p.Name())
	}
	slices.Sort(all)
	return all
}

// plan returns the plan of a build of a derivation.
func (w *workshop) plan(drv storepath.Path) string {
	w.t.Helper()
	missing, err := store.QueryMissing(w.t.Context(), w.store, []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()},
	})
	checkErr(w.t, err)
	return table(
		"build\t"+strings.Join(pathNames(missing.WillBuild), ", "),
		"fetch\t"+strings.Join(pathNames(missing.WillSubstitute), ", "),
		fmt.Sprintf("size of the archives\t%d", missing.NARSize),
	)
}

// make adds a package and builds it.
func (w *workshop) make(p *pixpkgs.Package, err error) (*store.BuildResult, string) {
	w.t.Helper()
	checkErr(w.t, err)
	checkErr(w.t, pixpkgs.Instantiate(w.t.Context(), w.store, p))
	result, log := w.build(p.DrvPath(), store.BuildNormal)
	if !result.Status.Succeeded() {
		w.t.Fatalf("%s: %s\n%s", p.Name(), result.Message, log)
	}
	return result, log
}

// read returns the text of a file in the store.
func (w *workshop) read(path storepath.Path) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, string(path)))
	checkErr(w.t, err)
	return string(b)
}

// logFile returns the name of the only log in a store.
func (w *workshop) logFile(drv storepath.Path, want string) string {
	w.t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(w.root, "nix/var/log"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(path, w.root+"/"))
		}
		return err
	})
	checkErr(w.t, err)
	log, err := store.BuildLog(w.t.Context(), w.store, drv)
	checkErr(w.t, err)
	defer log.Close()
	text, err := io.ReadAll(log)
	checkErr(w.t, err)
	if string(text) != want {
		w.t.Errorf("the log is %q, want %q", text, want)
	}
	return strings.Join(names, "\n")
}

// mirrorFacts returns the paths and the contents of a mirror.
func (w *workshop) mirrorFacts(p *pixpkgs.Package, result *store.BuildResult, log string) string {
	w.t.Helper()
	out := result.Outputs["out"].OutPath
	_, scratch, _ := strings.Cut(strings.TrimSpace(log), "wrote ")
	info, err := w.store.QueryPathInfo(w.t.Context(), out)
	checkErr(w.t, err)
	return table("in other derivations\t"+p.String(), "while it is built\t"+scratch, "valid path\t"+string(out), "contents\t"+strings.TrimSpace(w.read(out)),
		fmt.Sprintf("references\t%s", info.References), "content address\t"+info.CA.String())
}

func TestHowABuildIsMadePage(t *testing.T) {
	cache := newWorkshop(t, "write")
	cached, _ := cache.make(ink())
	w := newWorkshop(t, "write", cache.root)
	page, err := leaflet()
	checkErr(t, err)
	checkErr(t, pixpkgs.Instantiate(t.Context(), w.store, page))
	added, planned := w.valid(), w.plan(page.DrvPath())
	result, log := w.make(page, nil)
	if cached.Status != store.Built {
		t.Errorf("the cache has %s", cached.Status)
	}
	out := result.Outputs["out"].OutPath
	built, logFile := w.valid(), w.logFile(page.DrvPath(), log)

	first, err := mirror("first")
	checkErr(t, err)
	second, err := mirror("second")
	checkErr(t, err)
	firstResult, mirrorLog := w.make(first, nil)
	firstFrame, _ := w.make(frame(first))
	facts := w.mirrorFacts(first, firstResult, mirrorLog)
	secondResult, _ := w.make(second, nil)
	secondFrame, _ := w.make(frame(second))
	outOf := func(r *store.BuildResult) string { return string(r.Outputs["out"].OutPath) }

	check(t, "how-a-build-is-made.md", map[string]string{
		"declaration":  source(t, "buildmade_test.go", "leaflet", "ink"),
		"paths":        table("derivation\t"+string(page.DrvPath()), "output\t"+page.String()),
		"instantiated": added,
		"plan":         planned,
		"log":          log,
		"contents":     w.read(out),
		"info":         w.info(t.Context(), out),
		"valid":        built,
		"log-file":     logFile,
		"mirror":       source(t, "buildmade_test.go", "mirror"),
		"facts":        facts,
		"cutoff": table(
			"package\tderivation\tstatus\toutput",
			"mirror, first\t"+first.DrvPath().HashPart()[:7]+"…\t"+firstResult.Status.String()+"\t"+outOf(firstResult),
			"frame of it\t\t"+firstFrame.Status.String()+"\t"+outOf(firstFrame),
			"mirror, second\t"+second.DrvPath().HashPart()[:7]+"…\t"+secondResult.Status.String()+"\t"+outOf(secondResult),
			"frame of it\t\t"+secondFrame.Status.String()+"\t"+outOf(secondFrame),
		),
	})
}
