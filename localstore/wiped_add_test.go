package localstore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
	"pix/localstore/internal/objects"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// wiping returns a reader that removes the store before it gives the second half of an archive,
// and lets then happen what follows on that.
func wiping(t *testing.T, root string, archive []byte, then func()) io.Reader {
	return io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
		for os.RemoveAll(root) != nil {
			testenv.MakeWritable(root)
		}
		then()
		return 0, io.EOF
	}), bytes.NewReader(archive[len(archive)/2:]))
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What was half added when the store was removed is not valid in the store that takes its place,
// unless it is whole there.
func TestWipedInTheMiddle(t *testing.T) {
	opts := &store.AddOptions{NoSignatures: true}
	for name, add := range map[string]func(s *Store, info *store.PathInfo, archive io.Reader) error{
		"one": func(s *Store, info *store.PathInfo, archive io.Reader) error {
			return s.AddToStoreNAR(t.Context(), info, archive, opts)
		},
		"many": func(s *Store, info *store.PathInfo, archive io.Reader) error {
			return s.AddMultipleToStore(t.Context(), 1, func(yield func(store.Import, error) bool) {
				yield(store.Import{Info: info, NAR: archive}, nil)
			}, opts)
		},
	} {
		for what, archive := range map[string][]byte{"file": fileNAR("x"), "tree": bigTree("x"), "large": fileNAR(string(make([]byte, 1<<20)))} {
			for after, then := range map[string]func(s *Store){
				"":             func(*Store) {},
				" and remade":  func(s *Store) { s.QueryAllValidPaths(t.Context()); s.AddTextToStore(t.Context(), "new", "new", nil) },
				" by somebody": func(s *Store) { open(t, Options{Root: s.opts.Root}) },
			} {
				t.Run(name+" "+what+after, func(t *testing.T) {
					root := filepath.Join(t.TempDir(), "root")
					s := open(t, Options{Root: root, NoSync: true})
					info := infoOf(t, "x", archive)
					err := add(s, info, wiping(t, root, archive, func() { then(s) }))
					t.Log(err)
					if err == nil {
						if valid, err := s.IsValidPath(t.Context(), info.Path); err != nil || !valid {
							t.Errorf("it was added and is not valid: %v", err)
						}
					}
					mustBeSound(t, s)
					if _, err := s.AddTextToStore(t.Context(), "after", "after", nil); err != nil {
						t.Error(err)
					}
					if err := add(s, info, bytes.NewReader(archive)); err != nil {
						t.Error(err)
					}
					mustBeSound(t, s)
				})
			}
		}
	}
}

// Neither is what was removed between its making and its registration.
func TestWipedBeforeRegistration(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := open(t, Options{Root: root})
	var path storepath.Path
	info, err := s.fileInfo("x", storepath.Text, nixhash.SHA256, nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	path = info.Path
	_, err = s.addComputed(t.Context(), info, false, func(name string) error {
		if err := objects.CreateFile(name, []byte("x")); err != nil {
			return err
		}
		if err := os.Rename(root, root+"-gone"); err != nil {
			return err
		}
		s.AddTextToStore(t.Context(), "other", "other", nil)
		return os.WriteFile(name, []byte("somebody makes it just now"), 0o444)
	})
	if err == nil {
		t.Error("it was added")
	}
	if valid, err := s.IsValidPath(t.Context(), path); err != nil || valid {
		t.Errorf("valid: %v, %v", valid, err)
	}
	mustBeSound(t, s)
}
