package localstore

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// fileNAR returns the archive of a file.
func fileNAR(contents string) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	return b.Bytes()
}

// treeNAR returns the archive of a directory that contains every kind of file.
func treeNAR() []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "a"})
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 2, Name: "run", Executable: true, Size: 3})
	io.WriteString(w, "run")
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "a.b", Size: 4})
	io.WriteString(w, "text")
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "empty"})
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "link", Target: "a/run"})
	w.Close()
	return b.Bytes()
}

// object returns the info of an object that is not content-addressed, and its archive.
func object(t testing.TB, name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR(name)
	info := info(t, name, references...)
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
	return info, archive
}

func readNAR(t testing.TB, s store.NARReader, path storepath.Path) []byte {
	t.Helper()
	r, err := s.NARFromPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return b
}

// onDisk returns the names in the store directory, except .links.
func onDisk(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.storeDir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != ".links" {
			names = append(names, e.Name())
		}
	}
	return names
}

// checkCanonical checks the metadata of all files in the store directory.
func checkCanonical(t testing.TB, s *Store) {
	t.Helper()
	for _, name := range onDisk(t, s) {
		err := filepath.WalkDir(filepath.Join(s.storeDir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if mode := info.Mode(); !info.ModTime().Equal(time.Unix(1, 0)) || mode.Type() != fs.ModeSymlink && mode.Perm() != 0o444 && mode.Perm() != 0o555 {
				t.Errorf("%s has mode %v and time %v", path, mode, info.ModTime())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
