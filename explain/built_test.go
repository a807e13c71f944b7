package explain_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A builtStore is a store with the outputs that Nix has built from the derivations of a corpus.
type builtStore struct {
	store.Store // for the methods that are not called
	drvs        derivation.Directory
	closure     *derivation.Closure
	realised    map[string]storepath.Path // by the modulo hash and the output
	infos       map[storepath.Path]*store.PathInfo
}

func (s *builtStore) QueryDerivationOutputMap(_ context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	d, ok := s.closure.Get(drv)
	if !ok {
		return nil, store.ErrNotFound
	}
	hash, err := s.closure.HashModulo(drv, derivation.ForOutputs)
	if err != nil {
		return nil, err
	}
	outputs := map[string]storepath.Path{}
	for name, o := range d.Outputs.All() {
		if outputs[name] = o.Path(); o.Path() == "" {
			outputs[name] = s.realised[hash.Hash.WithBase16()+"!"+name]
		}
	}
	return outputs, nil
}

func (s *builtStore) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	info, ok := s.infos[path]
	if !ok {
		return nil, store.ErrNotFound
	}
	return info, nil
}

// newBuiltStore returns the store of the corpus, and the derivations in it.
func newBuiltStore(t *testing.T) (s *builtStore, drvs []storepath.Path) {
	t.Helper()
	s = &builtStore{realised: map[string]storepath.Path{}, infos: map[storepath.Path]*store.PathInfo{}}
	corpusDrvs(t, "nix-features.tar.zst", "nix-features/built/drvs", func(dir derivation.Directory, path storepath.Path) {
		s.drvs = dir
		drvs = append(drvs, path)
	})
	var err error
	if s.closure, err = derivation.LoadClosure(t.Context(), s.drvs, drvs, nil); err != nil {
		t.Fatal(err)
	}
	var answers struct {
		Realisations []struct {
			ID, Output string
			Path       storepath.Path
		} `json:"db_realisations"`
		Paths []struct {
			CA   string
			Path storepath.Path
		} `json:"db_validPaths"`
	}
	b, err := os.ReadFile(filepath.Join(string(s.drvs), "..", "answers-built-2.34.8.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &answers); err != nil {
		t.Fatal(err)
	}
	for _, r := range answers.Realisations {
		s.realised[r.ID+"!"+r.Output] = r.Path
	}
	for _, p := range answers.Paths {
		info := &store.PathInfo{Path: p.Path}
		if err := info.CA.UnmarshalText([]byte(p.CA)); err != nil {
			t.Fatal(err)
		}
		s.infos[p.Path] = info
	}
	return s, drvs
}

// Outputs whose paths are known only after a build: the store knows them, and they follow from the contents, or from the resolved
// derivation.
func TestBuiltOutputs(t *testing.T) {
	s, drvs := newBuiltStore(t)
	counts, ran := map[string]int{}, map[derivation.OutputKind]bool{}
	for _, path := range drvs {
		d, _ := s.closure.Get(path)
		kind, err := d.Kind()
		if err != nil {
			t.Fatal(err)
		}
		if kind == derivation.Fixed || kind == derivation.InputAddressed {
			continue
		}
		e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: s.drvs}, &explain.DerivationOptions{Store: s})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		outputs, err := s.QueryDerivationOutputMap(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for name, built := range outputs {
			if built == "" || s.infos[built] == nil {
				continue
			}
			got := stepOf(t, e, explain.StepPath, name).Result
			if got == string(built) {
				counts[kind.String()]++
			} else if kind == derivation.Deferred || !strings.Contains(strings.Join(e.Problems, "; "), string(built)) {
				t.Errorf("the output %s of %s is %s, want %s", name, path, got, built)
			} else {
				counts["with references"]++ // which the corpus does not have
			}
		}
		if len(e.Problems) == 0 && !ran[kind] {
			ran[kind] = true
			runScript(t, "sh", e)
		}
	}
	t.Logf("outputs: %v", counts)
	if counts["floating"] < 5 || counts["deferred"] < 1 {
		t.Errorf("too few outputs were computed: %v", counts)
	}
}

// Of several outputs, only the selected ones are explained.
func TestSelectedOutputs(t *testing.T) {
	d := &derivation.Derivation{Name: "multi", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	for _, name := range []string{"out", "dev", "doc"} {
		d.Outputs.Set(name, derivation.DeferredOutput())
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: texts{}}, &explain.DerivationOptions{Outputs: []string{"dev"}})
	if err != nil {
		t.Fatal(err)
	}
	stepOf(t, e, explain.StepPath, "dev")
	for _, s := range e.Steps {
		if s.Output != "" && s.Output != "dev" {
			t.Errorf("there is a step of the output %s", s.Output)
		}
	}
	floating := &derivation.Derivation{Name: "multi", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	floating.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	if path, err = floating.Path(); err != nil {
		t.Fatal(err)
	}
	e, err = explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: floating, Inputs: texts{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := stepOf(t, e, explain.StepPlaceholderPath, "out"); s.Result != string(storepath.OwnPlaceholder("out")) {
		t.Errorf("the placeholder is %s", s.Result)
	}
}
