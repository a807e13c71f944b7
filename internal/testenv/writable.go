package testenv

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// RemoveStore lets the test remove a temporary directory in which there is a store: whoever is
// not root cannot remove what lies in directories that nobody may write to.
func RemoveStore(t testing.TB, dir string) {
	t.Cleanup(func() { MakeWritable(dir) })
}

// MakeWritable lets whoever is not root remove what lies in a directory.
func MakeWritable(dir string) {
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o755) // if it cannot be, removing it will fail and say so
		}
		return nil
	})
}
