package binarycache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Realisations have two forms and two directories: for Nix up to 2.34 and from 2.35 on.
func TestRealisationFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir, nil)
	const (
		drv  = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv"
		out  = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"
		id   = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out"
		old  = `{"dependentRealisations":{},"id":"` + id + `","outPath":"` + out + `","signatures":["k-1:eA=="]}`
		new  = `{"outPath":"` + out + `","signatures":[{"keyName":"k-1","sig":"eA=="}]}`
		file = "build-trace-v2/" + drv + "/out.doi"
	)
	hash := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	path := storepath.Path("/nix/store/" + drv)
	r := store.Realisation{OutPath: "/nix/store/" + out, Signatures: []string{"k-1:eA=="}}
	ids := map[string]store.DrvOutput{
		"hash": {Hash: hash, Output: "out"}, "path": {Path: path, Output: "out"}, "both": {Hash: hash, Path: path, Output: "out"},
	}
	for _, c := range []struct {
		register string
		files    map[string]string
		known    []string // the names under which it is found
	}{
		{"hash", map[string]string{"realisations/" + id + ".doi": old}, []string{"hash", "both"}},
		{"path", map[string]string{file: new}, []string{"path", "both"}},
		{"both", map[string]string{"realisations/" + id + ".doi": old, file: new}, []string{"hash", "path", "both"}},
	} {
		t.Run(c.register, func(t *testing.T) {
			for _, folder := range []string{"realisations", "build-trace-v2"} {
				if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: ids[c.register], Realisation: r}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"realisations/" + id + ".doi", file} {
				if text, _ := os.ReadFile(filepath.Join(dir, name)); string(text) != c.files[name] {
					t.Errorf("%s has %s, want %s", name, text, c.files[name])
				}
			}
			known := 0
			for _, id := range ids {
				got, err := s.QueryRealisation(t.Context(), id)
				if err == nil && got.OutPath == r.OutPath && len(got.Signatures) == 1 && got.Signatures[0] == "k-1:eA==" {
					known++
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%+v: %+v, %v", id, got, err)
				}
			}
			if known != len(c.known) {
				t.Errorf("found under %d names, want %q", known, c.known)
			}
			for _, name := range c.known {
				if _, err := s.QueryRealisation(t.Context(), ids[name]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, bad := range []store.DrvOutput{
		{Output: "out"}, {Path: "/nix/store/../../x.drv", Output: "out"}, {Path: path, Output: "../../out"}, {Path: path}, {Path: "/gnu/store/" + drv, Output: "out"},
	} {
		if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: bad, Realisation: r}); err == nil {
			t.Errorf("%+v is registered", bad)
		}
		if _, err := s.QueryRealisation(t.Context(), bad); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(`{"outPath":"../x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.QueryRealisation(t.Context(), ids["path"]); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a broken file: %v", err)
	}
}
