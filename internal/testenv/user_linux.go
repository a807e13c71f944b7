package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// AsOrdinaryUser calls do with the rights of an ordinary user on files, and a temporary directory that this user owns.
// Goroutines that do starts keep the rights of root.
func AsOrdinaryUser(t testing.TB, do func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		do(dir)
		return
	}
	// The parent of the directory is private as well.
	if err := errors.Join(os.Chown(filepath.Dir(dir), Nobody, Nobody), os.Chown(dir, Nobody, Nobody)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		err := errors.Join(unix.Setfsgid(Nobody), unix.Setfsuid(Nobody))
		defer func() { ended <- err }() // also if do ends the test
		if err == nil {
			do(dir)
		}
	}()
	if err := <-ended; err != nil {
		t.Skipf("this process cannot give up its rights: %v", err)
	}
}
