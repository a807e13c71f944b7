//go:build unix

package binarycache_test

import (
	"path/filepath"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A cache in a directory is readable for all users and writable for its owner, as in Nix, whatever the umask
// is.
func TestModes(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		top := t.TempDir()
		s := open(t, "file://"+filepath.Join(top, "deep/cache"), &binarycache.Options{WriteListings: true})
		src, paths := chain(t, 2)
		if _, err := store.Copy(t.Context(), s, src, paths, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.AddSignatures(t.Context(), paths[0], []string{"k:c2lnbmF0dXJl"}); err != nil {
			t.Fatal(err)
		}
		drv, err := storepath.DefaultDir.MakePath("text", nixhash.Sum(nixhash.SHA256, nil), "x.drv")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddBuildLog(t.Context(), drv, strings.NewReader("log")); err != nil {
			t.Fatal(err)
		}
		output := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}
		if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: output, Realisation: store.Realisation{OutPath: paths[0]}}); err != nil {
			t.Fatal(err)
		}
		modes := testenv.Modes(t, top)
		delete(modes, ".")
		kinds := make(map[string]int)
		for name, mode := range modes {
			kinds[filepath.Ext(name)]++
			if mode != "d0755" && mode != "f0644" {
				t.Errorf("%s has the mode %s", name, mode)
			}
		}
		for _, kind := range []string{".narinfo", ".ls", ".zst", ".doi", ".drv", ""} {
			if kinds[kind] == 0 {
				t.Errorf("no file *%s in %v", kind, modes)
			}
		}
	})
}
