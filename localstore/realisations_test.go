package localstore

import (
	"errors"
	"testing"

	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

func TestRealisations(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	_, _, floating := drvs(t, s)
	text := func(name string) storepath.Path {
		path, err := s.AddTextToStore(t.Context(), name, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	out, another := text("out"), text("other")
	byPath := store.DrvOutput{Path: floating, Output: "out"}
	if _, err := s.QueryRealisation(t.Context(), byPath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"a", "b", "a"} {
		r := store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: out, Signatures: []string{key.Sign([]byte(m)).String()}}}
		if err := s.RegisterDrvOutput(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var conflict *RealisationConflictError
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: another}}); !errors.As(err, &conflict) {
		t.Errorf("registered a second path for an output: %v", err)
	}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: store.DrvOutput{Path: floating, Output: "dev"}, Realisation: store.Realisation{OutPath: absent}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	hash, err := s.DrvHash(t.Context(), floating)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, open(t, Options{Root: root})} {
		for _, id := range []store.DrvOutput{byPath, {Hash: hash, Output: "out"}} {
			r, err := s.QueryRealisation(t.Context(), id)
			if err != nil || r.OutPath != out || len(r.Signatures) != 2 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if outputs, err := s.QueryDerivationOutputMap(t.Context(), floating); err != nil || outputs["out"] != out {
			t.Errorf("%v, %v", outputs, err)
		}
	}
	testNextBuild(t, s, byPath, hash, out, another)
}

// testNextBuild checks that after the path of an output was deleted, another path can be registered.
func testNextBuild(t *testing.T, s *Store, byPath store.DrvOutput, hash nixhash.Hash, out, another storepath.Path) {
	t.Helper()
	if err := s.invalidatePath(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	// Nix up to 2.34 deletes a realisation with its path, and Nix from 2.35 on keeps it.
	if _, err := s.QueryRealisation(t.Context(), store.DrvOutput{Hash: hash, Output: "out"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after its path was deleted: %v", err)
	}
	if r, err := s.QueryRealisation(t.Context(), byPath); err != nil || r.OutPath != out {
		t.Errorf("after its path was deleted: %v, %v", r, err)
	}
	// So the next build may register another output path.
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: byPath, Realisation: store.Realisation{OutPath: another}}); err != nil {
		t.Error(err)
	}
	for _, id := range []store.DrvOutput{byPath, {Hash: hash, Output: "out"}} {
		if r, err := s.QueryRealisation(t.Context(), id); err != nil || r.OutPath != another || len(r.Signatures) != 0 {
			t.Errorf("after the next build: %v, %v", r, err)
		}
	}
}
