package temproots

import (
	"os"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
)

// Other users can never connect to the socket of the garbage collector, not even just after its creation.
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
