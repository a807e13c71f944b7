package memstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

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
		t.Errorf("QueryMissing: %+v, %v", missing, err)
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
			t.Errorf("BuildPaths: %v, want %q", err, want)
		}
	}
	if err := s.BuildPaths(t.Context(), nil, store.BuildRepair); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("repair: %v", err)
	}
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{all(first), all(second),
		derivation.Built{Drv: derivation.Opaque{Path: first}, Outputs: derivation.NamedOutputs("nothing")}}, store.BuildNormal)
	if err != nil || results[0].Status != store.AlreadyValid || results[1].Status != store.Built || results[1].Outputs["out"].OutPath == "" || results[2].Status != store.MiscFailure {
		t.Errorf("BuildPathsWithResults: %+v, %v", results, err)
	}
	derivers, err := s.QueryValidDerivers(t.Context(), results[0].Outputs["out"].OutPath)
	if err != nil || !slices.Equal(derivers, []storepath.Path{first}) {
		t.Errorf("QueryValidDerivers: %v, %v", derivers, err)
	}
}

func TestRealisations(t *testing.T) {
	s := New(nil)
	_, _, floating := derivations(t, s)
	out, other := text(t, s, "out"), text(t, s, "other")
	byPath := store.DrvOutput{Path: floating, Output: "out"}
	outputs, err := s.QueryDerivationOutputMap(t.Context(), floating)
	if err != nil || len(outputs) != 1 || outputs["out"] != "" {
		t.Errorf("QueryDerivationOutputMap: %v, %v", outputs, err)
	}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("QueryRealisation: %v", err)
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
		t.Errorf("RegisterDrvOutput: %v", err)
	}
	// Older clients use the hash instead of the path.
	for _, id := range []store.DrvOutput{byPath, {Hash: s.objects[floating].drv.hash, Output: "out"}} {
		r, err := s.QueryRealisation(t.Context(), id)
		if err != nil || r.OutPath != out || len(r.Signatures) != 2 {
			t.Errorf("QueryRealisation: %+v, %v", r, err)
		}
	}
	if outputs, err = s.QueryDerivationOutputMap(t.Context(), floating); err != nil || outputs["out"] != out {
		t.Errorf("QueryDerivationOutputMap: %v, %v", outputs, err)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{out}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the path was deleted: %v", err)
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
