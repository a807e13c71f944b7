package binarycache_test

import (
	"maps"
	"testing"

	"pix/store"
	"pix/storepath"
)

// A cache has the outputs of its derivations: from their texts, and for floating outputs from its realisations.
func TestOutputMap(t *testing.T) {
	s := open(t, "file://"+t.TempDir(), nil)
	const (
		fixed    = `Derive([("out","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar","","")],[],[],"x","y",[],[("out","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar")])`
		floating = `Derive([("doc","","r:sha256",""),("out","","r:sha256","")],[],[],"x","y",[],[("name","bar")])`
		wrong    = `Derive([("out","/other","","")],[],[],"x","y",[],[])`
		bar      = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar")
	)
	add := func(text string) storepath.Path {
		path, err := store.AddText(t.Context(), s, "bar.drv", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	drv := add(floating)
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: store.DrvOutput{Path: drv, Output: "out"}, Realisation: store.Realisation{OutPath: bar}}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[storepath.Path]map[string]storepath.Path{
		add(fixed): {"out": bar},
		drv:        {"doc": "", "out": bar},
	} {
		if got, err := store.OutputMap(t.Context(), s, path); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	if got, err := store.OutputMap(t.Context(), s, add(wrong)); err == nil {
		t.Errorf("the path of no store object: %v", got)
	}
}
