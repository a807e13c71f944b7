package localstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// loseRoots deletes the files of temporary roots, as a process with the same id in another PID namespace may do. It
// then collects garbage before the files are created again.
func loseRoots(t *testing.T, s *Store) {
	t.Helper()
	for _, name := range rootsFiles(t, s.layout) {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
	// It uses a copy of the layout, so that the collector does not repair the file of this process.
	collector := &Store{shared: s.shared, temp: temproots.Open(temproots.State{Dir: t.TempDir(), Store: s.dir})}
	defer collector.temp.Close()
	if _, err := collector.CollectGarbage(context.Background(), deleteAll); err != nil {
		t.Error(err)
	}
}

// loseFile deletes the files of temporary roots and one file of the object that is being added, as a collector does at
// the start of a collection.
func loseFile(t *testing.T, s *Store) {
	t.Helper()
	added, err := filepath.Glob(s.storeDir + "/*-" + tempPrefix + "*/*/f000")
	if err != nil {
		t.Error(err)
	}
	for _, name := range added { // in a directory that is read-only if the object is complete
		if err := errors.Join(os.Chmod(filepath.Dir(name), 0o755), os.Remove(name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range rootsFiles(t, s.layout) {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A readerOf returns a reader of an archive.
type readerOf func(t *testing.T, s *Store, archive []byte) io.Reader

// lostRootsAdditions returns the ways to add an object. large is a large archive.
func lostRootsAdditions(large []byte) map[string]func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
	opts := &store.AddOptions{NoSignatures: true}
	return map[string]func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error){
		"contents": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			info, err := s.AddToStore(t.Context(), "x", storepath.Flat, nixhash.SHA256, nil, reader(t, s, make([]byte, 1<<20)), nil)
			if err != nil {
				return "", err
			}
			return info.Path, nil
		},
		"archive": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			info, err := s.AddToStore(t.Context(), "x", storepath.NAR, nixhash.SHA256, nil, reader(t, s, large), nil)
			if err != nil {
				return "", err
			}
			return info.Path, nil
		},
		"object": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			info := infoOf(t, "x", large)
			return info.Path, s.AddToStoreNAR(t.Context(), info, reader(t, s, large), opts)
		},
		"small object": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			archive := bigTree("x")
			info := infoOf(t, "x", archive)
			return info.Path, s.AddToStoreNAR(t.Context(), info, reader(t, s, archive), opts)
		},
		"many objects": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			info, second := infoOf(t, "x", large), infoOf(t, "y", large)
			return info.Path, s.AddMultipleToStore(t.Context(), 2, func(yield func(store.Import, error) bool) {
				_ = yield(store.Import{Info: info, NAR: bytes.NewReader(large)}, nil) &&
					yield(store.Import{Info: second, NAR: reader(t, s, large)}, nil)
			}, opts)
		},
		"repaired": func(t *testing.T, s *Store, reader readerOf) (storepath.Path, error) {
			info := infoOf(t, "x", large)
			return info.Path, s.AddToStoreNAR(t.Context(), info, reader(t, s, large), &store.AddOptions{NoSignatures: true, Repair: true})
		},
	}
}

// An upload succeeds only if its files were protected without interruption.
func TestRootsLostWhileAdding(t *testing.T) {
	large := bigTree(string(make([]byte, 4096)))
	lose := loseRoots
	losing := func(t *testing.T, s *Store, archive []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
			lose(t, s)
			return 0, io.EOF
		}), bytes.NewReader(archive[len(archive)/2:]))
	}
	whole := func(_ *testing.T, _ *Store, archive []byte) io.Reader { return bytes.NewReader(archive) }
	for name, add := range lostRootsAdditions(large) {
		test := func(t *testing.T) {
			s := open(t, Options{Root: t.TempDir(), NoSync: true})
			path, err := add(t, s, losing)
			t.Log(err)
			switch {
			case err == nil:
				if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
					t.Errorf("after a successful addition, valid: %v, %v", valid, err)
				}
			case !errors.Is(err, temproots.ErrLost) && !errors.Is(err, os.ErrNotExist):
				t.Error(err)
			}
			checkSound(t, s)
			if path, err = add(t, s, whole); err != nil {
				t.Fatal(err)
			}
			if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
				t.Error(err)
			}
			if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
				t.Errorf("after a second addition, valid: %v, %v", valid, err)
			}
			checkSound(t, s)
		}
		lose = loseRoots
		t.Run(name+" collected", test)
		lose = loseFile
		t.Run(name, test)
	}
}

// The same holds between the placement of an object and its registration.
func TestRootsLostBeforeRegistration(t *testing.T) {
	for name, gcFirst := range map[string]bool{"deleted": false, "replaced": true} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{Root: t.TempDir()})
			info, err := s.fileInfo(contentSpec{name: "x", method: storepath.Text, algo: nixhash.SHA256}, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.addComputed(t.Context(), info, false, func(name string) error {
				if err := objects.CreateFile(name, []byte("x")); err != nil {
					return err
				}
				loseRoots(t, s)
				if gcFirst { // another user of the store creates the file of roots again
					return s.AddTempRoot(t.Context(), somePath(t, 1))
				}
				return nil
			})
			if err == nil {
				t.Error("it was added")
			}
			if valid, err := s.IsValidPath(t.Context(), info.Path); valid || err != nil {
				t.Errorf("it is valid: %v, %v", valid, err)
			}
			checkSound(t, s)
			if _, err := s.AddTextToStore(t.Context(), "x", "x", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// If the file of roots was deleted, adding a root again protects its path again.
func TestRootAddedAgain(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	path, err := s.AddTextToStore(t.Context(), "x", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []func() error{
		func() error { return s.AddTempRoot(t.Context(), path) },
		func() error { return s.EnsurePath(t.Context(), path) },
		func() error { _, err := s.AddTextToStore(t.Context(), "x", "x", nil); return err },
		func() error {
			link := t.TempDir() + "/link"
			_, err := s.AddPermRoot(t.Context(), path, link)
			return errors.Join(err, os.Remove(link))
		},
	} {
		for _, name := range rootsFiles(t, s.layout) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := add(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
			t.Fatal(err)
		}
		if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Errorf("it is valid: %v, %v", valid, err)
		}
	}
}

// If the store is deleted and created again during a collection, the collection deletes no file of the new store.
func TestWipedWhileCollecting(t *testing.T) {
	root := t.TempDir() + "/root"
	s := open(t, Options{Root: root})
	addTexts(t, s, 300, false)
	var fresh []storepath.Path
	_, err := s.CollectGarbage(withLog(t, func(line string) {
		if line != "deleting garbage..." {
			return
		}
		if err := os.Rename(root, root+"-gone"); err != nil {
			t.Error(err)
		}
		fresh = addTexts(t, s, 300, true)
	}), deleteAll)
	if err == nil {
		t.Error("no error")
	}
	for _, p := range fresh {
		if valid, err := s.IsValidPath(t.Context(), p); !valid || err != nil {
			t.Fatalf("%s is valid: %v, %v", p, valid, err)
		}
	}
	checkSound(t, s)
}
