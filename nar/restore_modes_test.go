//go:build unix

package nar_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/nar"
)

// restoredModes are the modes of the archive of dirOfKinds restored as "x", with and without
// Canonical.
var restoredModes = map[bool]map[string]string{
	false: {"x": "d0755", "x/dir": "d0755", "x/dir/file": "f0644", "x/dir/program": "f0755", "x/empty": "d0755"},
	true:  {"x": "d0555", "x/dir": "d0555", "x/dir/file": "f0444", "x/dir/program": "f0555", "x/empty": "d0555"},
}

// Modes depend neither on the umask nor on the group or the mode of the parent directory.
func TestRestoreModes(t *testing.T) {
	b := archive(nar.Magic, dirOfKinds())
	testenv.UnderUmasks(t, func(t *testing.T) {
		for _, canonical := range []bool{false, true} {
			for _, inPlace := range []bool{false, true} {
				for _, mode := range []fs.FileMode{0o700, 0o775 | fs.ModeSticky} {
					folder := filepath.Join(t.TempDir(), "folder")
					testenv.RemoveStore(t, folder)
					if err := os.Mkdir(folder, 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(folder, mode); err != nil {
						t.Fatal(err)
					}
					opts := &nar.RestoreOptions{Canonical: canonical, InPlace: inPlace}
					if err := nar.Restore(t.Context(), openRoot(t, folder), "x", bytes.NewReader(b), opts); err != nil {
						t.Fatal(err)
					}
					got := testenv.Modes(t, folder)
					delete(got, ".")
					if want := restoredModes[canonical]; !maps.Equal(got, want) {
						t.Errorf("%+v in %v: %v, want %v", opts, mode, got, want)
					}
					equal(t, "dumped again", dump(t, filepath.Join(folder, "x"), nil), b)
				}
			}
		}
	})
}

// In a setgid directory, restored directories are setgid too, unless Canonical is set.
func TestRestoreInSetgidDirectory(t *testing.T) {
	b := archive(nar.Magic, dirOfKinds())
	testenv.UnderUmasks(t, func(t *testing.T) {
		for canonical, modes := range restoredModes {
			folder := filepath.Join(t.TempDir(), "folder")
			testenv.RemoveStore(t, folder)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(folder, 0o775|fs.ModeSetgid); err != nil {
				t.Fatal(err)
			}
			opts := &nar.RestoreOptions{Canonical: canonical}
			if err := nar.Restore(t.Context(), openRoot(t, folder), "x", bytes.NewReader(b), opts); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(modes)
			for name, mode := range want {
				if !canonical && mode[0] == 'd' {
					want[name] = strings.Replace(mode, "d0", "d2", 1)
				}
			}
			got := testenv.Modes(t, folder)
			delete(got, ".")
			if !maps.Equal(got, want) {
				t.Errorf("%+v: %v, want %v", opts, got, want)
			}
		}
	})
}
