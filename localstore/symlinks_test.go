package localstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/localstore"
)

// A store directory below a symlink is an error, unless the options allow it.
func TestAllowSymlinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	opts := &localstore.Options{StoreDir: filepath.Join(dir, "link/store"), StateDir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "log")}
	if s, err := localstore.Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "allow-symlinked-store") {
		if s != nil {
			s.Close()
		}
		t.Error(err)
	}
	opts.AllowSymlinks = true
	s, err := localstore.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := s.AddTextToStore(t.Context(), "text", "contents", nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "real/store", path.Base())); string(text) != "contents" {
		t.Error(err)
	}
}
