package localstore

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

// When a store is closed, the files beside the database stay, with an empty log, whether the store was written to or
// read.
func TestWALIsKept(t *testing.T) {
	root := t.TempDir()
	for _, opts := range []Options{{Root: root}, {Root: root}, {Root: root, ReadOnly: true}} {
		s, err := Open(t.Context(), &opts)
		if err != nil {
			t.Fatal(err)
		}
		if !opts.ReadOnly {
			addTexts(t, s, 3, false)
		}
		if _, err := s.QueryAllValidPaths(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for suffix, empty := range map[string]bool{"-wal": true, "-shm": false} {
			info, err := os.Stat(s.databaseFile() + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%+v: %s does not exist", opts, suffix)
			} else if err != nil {
				t.Fatal(err)
			} else if (info.Size() == 0) != empty {
				t.Errorf("%+v: %s has %d bytes", opts, suffix, info.Size())
			} else if info.Mode().Perm() != 0o644 {
				t.Errorf("%+v: %s has the mode %v", opts, suffix, info.Mode())
			}
		}
	}
}
