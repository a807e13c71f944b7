package localstore

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// hasLocks reports whether any process has an fcntl(2) lock on a file.
func hasLocks(t *testing.T, name string) bool {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skip(err)
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, "POSIX") && strings.Contains(line, inode) {
			return true
		}
	}
	return false
}

// While a store is open, its process holds its locks on the database. Closing another Store of the same database must
// not release them.
func TestLocksStay(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	paths := addTexts(t, s, 1, false)
	index := s.databaseFile() + "-shm"
	for _, opts := range []Options{{Root: root}, {Root: root, ReadOnly: true}} {
		for range 2 {
			other, err := Open(t.Context(), &opts)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.QueryPathInfo(t.Context(), paths[0]); err != nil {
				t.Error(err)
			}
			if !hasLocks(t, index) {
				t.Errorf("while another Store is open (%+v), the file is not locked", opts)
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			if !hasLocks(t, index) {
				t.Fatalf("after another Store was closed (%+v), the file is not locked", opts)
			}
		}
	}
}
