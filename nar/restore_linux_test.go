package nar_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"pix/internal/testenv"
	"pix/nar"
)

// Writing fails as on a full disk. A limit on file sizes is easier to set up than a full disk;
// it applies to the whole process, so the test runs in a child process.
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
		t.Errorf("%v, want EFBIG with the name of the file", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("the directory contains %q", got)
	}
}

// dirOf returns a directory that contains a directory with one file.
func dirOf(directory, name, contents string) []any {
	return dir(in(directory, dir(in(name, file(contents)...))...))
}

// During a restore, only the owner can open an incomplete directory. Others could add files to
// it that are not in the archive.
func TestRestoreIsPrivate(t *testing.T) {
	archives := [][]byte{archive(nar.Magic, dirOfKinds()), archive(nar.Magic, program("a program without a directory"))}
	testenv.UnderUmasks(t, func(t *testing.T) {
		for i := range 16 {
			folder := t.TempDir()
			testenv.RemoveStore(t, folder)
			if i&1 != 0 {
				testenv.LetAllWrite(t, folder)
			}
			src := &watchedReader{src: bytes.NewReader(archives[i>>1&1]), watch: func() { checkPrivate(t, folder) }}
			opts := &nar.RestoreOptions{Canonical: i&4 != 0, InPlace: i&8 != 0}
			if err := nar.Restore(t.Context(), openRoot(t, folder), "x", src, opts); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// checkPrivate checks that only the owner can open the outermost directory in folder, and that
// only the owner can write to the files below it.
func checkPrivate(t *testing.T, folder string) {
	t.Helper()
	modes := testenv.Modes(t, folder)
	delete(modes, ".")
	for name, mode := range modes {
		outermost := mode[0] == 'd' && !strings.Contains(name, "/")
		if outermost && !strings.HasSuffix(mode, "00") || strings.ContainsAny(mode[3:], "2367") {
			t.Errorf("during the restore, %s has mode %s", name, mode)
		}
	}
}

// A watchedReader calls watch before every read.
type watchedReader struct {
	src   io.Reader
	watch func()
}

func (r *watchedReader) Read(p []byte) (int, error) {
	r.watch()
	return r.src.Read(p[:min(len(p), 8)])
}
