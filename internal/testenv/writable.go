package testenv

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// RemoveStore makes a temporary directory with a store removable when the test ends: its directories are
// read-only, so only root could remove the files in them.
func RemoveStore(t testing.TB, dir string) {
	t.Cleanup(func() { MakeWritable(dir) })
}

// MakeWritable makes all directories below a directory writable, so that an ordinary user can remove them.
func MakeWritable(dir string) {
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o755) // after a failure the removal reports an error
		}
		return nil
	})
}
