package store_test

import (
	"context"
	"errors"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A byHash store identifies realisations only by the hash of the derivation, like a daemon up
// to Nix 2.34.
type byHash struct {
	store.Store
	store.NARReader
	known store.RealisationStore
}

func (s byHash) QueryRealisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	if id.Hash.IsZero() {
		return nil, &store.UnnamedOutputError{Output: id.Output, Lacks: "hash"}
	}
	return s.known.QueryRealisation(ctx, store.DrvOutput{Hash: id.Hash, Output: id.Output})
}

func (s byHash) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if r.ID.Hash.IsZero() {
		return &store.UnnamedOutputError{Output: r.ID.Output, Lacks: "hash"}
	}
	r.ID.Path = ""
	return s.known.RegisterDrvOutput(ctx, r)
}

// If only the path of a derivation is given, its hash is computed.
func TestRealisationByPath(t *testing.T) {
	m := memstore.New(nil)
	d := &derivation.Derivation{Name: "low", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	low, err := store.AddText(t.Context(), m, "low.drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Name = "high"
	d.InputDerivations.Set(low, derivation.OutputsOf("out"))
	high, err := store.AddText(t.Context(), m, "high.drv", d.String(), []storepath.Path{low})
	if err != nil {
		t.Fatal(err)
	}
	out, err := store.AddText(t.Context(), m, "out", "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := byHash{m, m, m}
	id := store.DrvOutput{Path: high, Output: "out"}
	if _, err := store.QueryRealisation(t.Context(), s, id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := store.RegisterRealisation(t.Context(), s, store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: out}}); err != nil {
		t.Fatal(err)
	}
	want, err := m.DrvHash(t.Context(), high)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store.DrvHash(t.Context(), s, high); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, id := range []store.DrvOutput{id, {Hash: want, Output: "out"}} {
		if r, err := store.QueryRealisation(t.Context(), s, id); err != nil || r.OutPath != out {
			t.Errorf("%+v: %v, %v", id, r, err)
		}
	}
	absent := store.DrvOutput{Path: "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv", Output: "out"}
	if _, err := store.QueryRealisation(t.Context(), s, absent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a missing derivation: %v", err)
	}
	if _, err := store.QueryRealisation(t.Context(), s, store.DrvOutput{Output: "out"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a derivation: %v", err)
	}
}
