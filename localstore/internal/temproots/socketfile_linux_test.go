package temproots

import (
	"os"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
)

// Not even for a moment can others connect to the socket of the garbage collector.
func TestSocketIsPrivate(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "socket")
		l, err := listenPrivately(name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if info, err := os.Lstat(name); err != nil || info.Mode().Perm() != privateSocket {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
}
