package memstore_test

import (
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
)

// A realisation is listed under the hash and under the path of its derivation, as it was registered.
func TestAllRealisations(t *testing.T) {
	s := memstore.New(nil)
	out, err := s.AddTextToStore(t.Context(), "out", "contents", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := store.DrvOutput{Path: "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv", Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: out}}); err != nil {
		t.Fatal(err)
	}
	all, err := store.AllRealisations(t.Context(), s)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	for i, want := range []string{id.PathID(), id.HashID()} {
		if got := all[i].ID.ID(); got != want || all[i].OutPath != out {
			t.Errorf("realisation %d is %s, %s, want %s", i, got, all[i].OutPath, want)
		}
	}
}
