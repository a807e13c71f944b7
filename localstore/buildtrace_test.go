package localstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// traceLikeNix registers an output path as Nix from 2.35 on does.
func traceLikeNix(t testing.TB, s *Store, drv, output string, path storepath.Path) {
	t.Helper()
	err := s.write(t.Context(), func(c *conn) error {
		if err := c.migrate(buildTraceMigration, buildTraceSchema); err != nil {
			return err
		}
		return c.exec("insert into BuildTraceV3 (drvPath, outputName, outputPath, signatures) values (?, ?, ?, '')", drv, output, string(path))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// traceRows returns the rows of the build trace in a database.
func traceRows(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := s.read(t.Context(), func(c *conn) error {
		return c.query("select drvPath, outputName, outputPath from BuildTraceV3", func(row *sqlite.Stmt) error {
			all[row.ColumnText(0)+"^"+row.ColumnText(1)] = row.ColumnText(2)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// floatingDrv adds a derivation with a floating output, which depends on outputs of others.
func floatingDrv(t testing.TB, s *Store, name string, inputs ...storepath.Path) storepath.Path {
	t.Helper()
	d := &derivation.Derivation{
		Name:    name,
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)}),
		Env:     derivation.MapOf(derivation.Entry[string, string]{Key: "out", Value: string(storepath.OwnPlaceholder("out"))}),
	}
	for _, in := range inputs {
		placeholder, err := storepath.OutputPlaceholder(in, "out")
		if err != nil {
			t.Fatal(err)
		}
		d.Args = append(d.Args, string(placeholder))
		d.InputDerivations.Set(in, derivation.OutputsOf("out"))
	}
	return addDerivation(t, s, d)
}

// resolvedWith returns the path of a derivation whose only input is replaced by a path.
func resolvedWith(t testing.TB, s *Store, drv, path storepath.Path) storepath.Path {
	t.Helper()
	r := drvReader{s: s}
	d, err := r.read(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := d.Resolve(func(derivation.SingleDerivedPath, string) (storepath.Path, bool) { return path, true })
	if err != nil {
		t.Fatal(err)
	}
	p, err := resolved.Path()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Realisations are read from and written to both tables: by hash, and by the path of the resolved derivation.
func TestBuildTrace(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	low := floatingDrv(t, s, "low")
	high := floatingDrv(t, s, "high", low)
	lowOut, highOut := drvText(t, s, "low-out"), drvText(t, s, "high-out")
	resolved := resolvedWith(t, s, high, lowOut)

	register := func(id store.DrvOutput, path storepath.Path) error {
		id.Output = "out"
		return s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: path}})
	}
	// A derivation whose inputs are not known cannot be resolved, so the trace does not contain it.
	if err := register(store.DrvOutput{Path: high}, highOut); err != nil {
		t.Fatal(err)
	}
	if err := register(store.DrvOutput{Path: low}, lowOut); err != nil {
		t.Fatal(err)
	}
	if got := traceRows(t, s); len(got) != 1 || got[low.Base()+"^out"] != string(lowOut) {
		t.Errorf("%q", got)
	}
	if err := register(store.DrvOutput{Path: high}, highOut); err != nil {
		t.Fatal(err)
	}
	if got := traceRows(t, s); len(got) != 2 || got[resolved.Base()+"^out"] != string(highOut) {
		t.Errorf("%q", got)
	}
	hash, err := s.DrvHash(t.Context(), high)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []store.DrvOutput{{Path: high, Output: "out"}, {Path: resolved, Output: "out"}, {Hash: hash, Output: "out"}} {
		if r, err := s.QueryRealisation(t.Context(), id); err != nil || r.OutPath != highOut {
			t.Errorf("%+v: %v, %v", id, r, err)
		}
	}
	// A derivation that is not in this store, as a client of Nix from 2.35 on registers it, and an ID without a
	// derivation.
	elsewhere := absent + ".drv"
	if err := register(store.DrvOutput{Path: elsewhere}, absent); err != nil {
		t.Fatal(err)
	}
	if r, err := s.QueryRealisation(t.Context(), store.DrvOutput{Path: elsewhere, Output: "out"}); err != nil || r.OutPath != absent {
		t.Errorf("%v, %v", r, err)
	}
	if err := register(store.DrvOutput{}, highOut); err == nil {
		t.Error("a realisation without a derivation was registered")
	}
	var conflict *RealisationConflictError
	if err := register(store.DrvOutput{Path: resolved}, lowOut); !errors.As(err, &conflict) || conflict.ID != resolved.Base()+"^out" {
		t.Error(err)
	}
}

// drvText adds the text of a derivation.
func drvText(t testing.TB, s *Store, name string) storepath.Path {
	t.Helper()
	path, err := s.AddTextToStore(t.Context(), name, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Output paths follow from a trace that Nix has written, which contains only resolved derivations, even if the outputs
// of the inputs were deleted. Each derivation is resolved once.
func TestOutputsOfNixsTrace(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	layer := []storepath.Path{floatingDrv(t, s, "bottom")}
	out := storepath.Path(fmt.Sprintf("/nix/store/%032d-bottom", 0))
	traceLikeNix(t, s, layer[0].Base(), "out", out)
	for i := range 25 { // the number of paths through the graph is 2 to the power of 25
		left, right := floatingDrv(t, s, fmt.Sprint("left-", i), layer...), floatingDrv(t, s, fmt.Sprint("right-", i), layer...)
		below := out
		out = storepath.Path(fmt.Sprintf("/nix/store/%032d-layer", i+1))
		for _, drv := range []storepath.Path{left, right} {
			traceLikeNix(t, s, resolvedWith(t, s, drv, below).Base(), "out", out)
		}
		layer = []storepath.Path{left, right}
	}
	start := time.Now()
	outputs, err := s.QueryDerivationOutputMap(t.Context(), layer[0])
	if err != nil || outputs["out"] != out {
		t.Errorf("%v, %v, want %s", outputs, err, out)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the call took %v", took)
	}
	unknown := floatingDrv(t, s, "unknown", layer[0], floatingDrv(t, s, "unbuilt"))
	if outputs, err := s.QueryDerivationOutputMap(t.Context(), unknown); err != nil || outputs["out"] != "" {
		t.Errorf("%v, %v", outputs, err)
	}
}

// The number of derivations that are in memory at the same time is limited.
func TestResolvingIsBounded(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	low := floatingDrv(t, s, "low")
	high := floatingDrv(t, s, "high", low)
	traceLikeNix(t, s, low.Base(), "out", absent)
	for _, o := range []*outputReader{{depth: maxResolving}, {depth: 1, bytes: maxResolvingBytes}} {
		o.own, o.outputs = drvReader{s: s}, make(map[storepath.Path]map[string]storepath.Path)
		o.drvReader = &o.own
		if _, err := o.outputMap(t.Context(), high); err == nil {
			t.Errorf("after %d derivations of %d bytes, another one was read", o.depth, o.bytes)
		}
	}
}

// TestGoldenBuildTraces reads stores and traces of Nix's golden data.
func TestGoldenBuildTraces(t *testing.T) {
	folder := testenv.MoreNixData(t, "store/worker-substitution/issue-11928")
	type golden struct {
		BuildTrace  map[string]map[string]json.RawMessage
		Derivations map[string]json.RawMessage
	}
	read := func(name string) (g golden) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = json.Unmarshal(text, &g)
		}
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	s := open(t, Options{Root: t.TempDir()})
	before := read("store-before.json")
	var root storepath.Path
	for len(before.Derivations) > 0 { // inputs come first
		for name, text := range before.Derivations {
			d, err := derivation.ParseJSON(string(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			path, err := d.Path()
			if err != nil || path.Base() != name {
				t.Fatalf("%s is %s, %v", name, path, err)
			}
			ready := true
			for input := range d.InputDerivations.All() {
				ready = ready && before.Derivations[input.Base()] == nil
			}
			if !ready {
				continue
			}
			root = path // the last one
			if got, err := s.AddTextToStore(t.Context(), d.Name+".drv", string(d.AppendATerm(nil)), d.References().Slice()); err != nil || got != path {
				t.Fatal(got, err)
			}
			delete(before.Derivations, name)
		}
	}
	var want storepath.Path
	for drv, outputs := range read("substituter.json").BuildTrace {
		for output, value := range outputs {
			r, err := store.ParseValueJSON(s.Dir(), string(value))
			if err != nil {
				t.Fatal(err)
			}
			traceLikeNix(t, s, drv, output, r.OutPath)
			if r.OutPath.Name() == "root-drv-out" {
				want = r.OutPath
			}
		}
	}
	if outputs, err := s.QueryDerivationOutputMap(t.Context(), root); err != nil || want == "" || outputs["out"] != want {
		t.Errorf("%v, %v, want %s", outputs, err, want)
	}
}
