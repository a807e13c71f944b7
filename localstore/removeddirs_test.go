package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// storeOperations returns operations that need the directories of a store.
func storeOperations(t *testing.T) map[string]func(s *Store, name string) error {
	return map[string]func(s *Store, name string) error{
		"add a text": func(s *Store, name string) error {
			_, err := s.AddTextToStore(t.Context(), name, name, nil)
			return err
		},
		"add an archive": func(s *Store, name string) error {
			_, err := s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, strings.NewReader(string(fileNAR(strings.Repeat(name, 5000)))), nil)
			return err
		},
		"add many": func(s *Store, name string) error {
			info, archive := object(t, name)
			return s.AddMultipleToStore(t.Context(), 1, oneImport(info, archive), &store.AddOptions{NoSignatures: true})
		},
		"add one": func(s *Store, name string) error {
			info, archive := object(t, name)
			return s.AddToStoreNAR(t.Context(), info, strings.NewReader(string(archive)), &store.AddOptions{NoSignatures: true})
		},
		"collect": func(s *Store, _ string) error {
			_, err := s.CollectGarbage(t.Context(), deleteAll)
			return err
		},
		"verify": func(s *Store, _ string) error {
			_, err := s.VerifyStore(t.Context(), true, false)
			return err
		},
		"optimise": func(s *Store, _ string) error { return s.OptimiseStore(t.Context()) },
		"root": func(s *Store, _ string) error {
			return s.AddIndirectRoot(t.Context(), filepath.Join(t.TempDir(), "link"))
		},
	}
}

// Directories that are deleted while a store is open are created again by every operation that needs them, in the same
// session and in a new one.
func TestRemovedDirs(t *testing.T) {
	for _, dir := range []string{"nix/store", "nix/store/.links", "nix/var/nix/gcroots", "nix/var/nix/profiles", "nix/var/nix/temproots", "nix/var/nix/gc-socket", "nix/var/nix/pix", "nix/var/nix/db"} {
		for what, operation := range storeOperations(t) {
			t.Run(dir+"/"+what, func(t *testing.T) {
				root := t.TempDir()
				s := open(t, Options{Root: root, AutoOptimise: true})
				for i, session := range []bool{false, true} {
					if _, err := s.AddTextToStore(t.Context(), "first", "first", nil); err != nil {
						t.Fatal(err)
					}
					if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
						t.Fatal(err)
					}
					used := s
					if session {
						opened, err := s.Session(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						defer opened.Close()
						used = opened.(*Store)
					}
					err := operation(used, strings.ReplaceAll(what, " ", "-")+string(rune('a'+i)))
					if what == "optimise" && dir == "nix/store" && errors.Is(err, fs.ErrNotExist) {
						err = nil // the object of a valid path does not exist
					}
					if err != nil {
						t.Errorf("in a new session %v: %v", session, err)
					}
				}
			})
		}
	}
}
