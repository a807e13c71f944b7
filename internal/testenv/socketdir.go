package testenv

import (
	"os"
	"testing"
)

// SocketDir returns a directory that is removed after the test, with a name that is short enough for the path of a Unix socket,
// which has at most 107 bytes. The one of [testing.T.TempDir] contains the name of the test.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
