package nar_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"pix/nar"
)

// A disk that is full is hard to come by. A limit on the size of files makes writing
// fail in the same place; it is set in a process of its own.
func TestRestoreCannotWrite(t *testing.T) {
	const child = "NAR_TEST_LIMITED"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRestoreCannotWrite$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := archive(nar.Magic, dirOf("a", "b", strings.Repeat("x", 2<<20)))
	err := nar.Restore(t.Context(), openRoot(t, dir), "x", bytes.NewReader(b), nil)
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "x/a/b") {
		t.Errorf("%v, want a file that is too large, and its name", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%q is left", got)
	}
}

// dirOf returns a file in a directory in the root.
func dirOf(directory, name, contents string) []any {
	return dir(in(directory, dir(in(name, file(contents)...))...))
}
