package store_test

import (
	"errors"
	"strings"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A store that does not build has nothing to check about a path that is no output, and cannot repair it.
func TestBuildModesOfPlainPath(t *testing.T) {
	s := memstore.New(nil)
	path, err := s.AddTextToStore(t.Context(), "a", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	bare := struct{ store.Store }{s}
	plain := []derivation.DerivedPath{derivation.Opaque{Path: path}}
	if err := store.BuildPaths(t.Context(), bare, plain, store.BuildCheck); err != nil {
		t.Error(err)
	}
	if err := store.BuildPaths(t.Context(), bare, plain, store.BuildRepair); err == nil || !strings.Contains(err.Error(), "there is no substituter") {
		t.Errorf("%v", err)
	}
	drv := storepath.Path("/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv")
	outputs := []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}
	for _, mode := range []store.BuildMode{store.BuildCheck, store.BuildRepair} {
		if err := store.BuildPaths(t.Context(), bare, outputs, mode); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("mode %d: %v", mode, err)
		}
	}
}
