//go:build unix

package nar_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pix/internal/testenv"
	"pix/nar"
)

// A file that no archive can contain is an error, unless the filter excludes it. Dump never
// opens a pipe, because that could block forever.
func TestDumpUnsupported(t *testing.T) {
	testenv.NoLeak(t)
	path := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(path, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Chdir(path) // a socket's path must be short
	os.Mkdir("sub", 0o777)
	l, err := net.Listen("unix", "sub/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range []string{path, filepath.Join(path, "pipe"), filepath.Join(path, "sub"), "sub/socket", os.DevNull} {
		if err := nar.Dump(t.Context(), io.Discard, p, nil); !errors.Is(err, nar.ErrFileType) {
			t.Errorf("%s: %v, want %v", p, err, nar.ErrFileType)
		}
	}
	got := dump(t, path, &nar.DumpOptions{Filter: func(_ string, kind nar.Kind) bool { return kind != 0 }})
	equal(t, "filtered", got, archive(nar.Magic, dir(in("sub", dir()...))))
}

func TestDumpUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := t.TempDir()
	os.WriteFile(filepath.Join(path, "f"), nil, 0)
	err := nar.Dump(t.Context(), io.Discard, path, nil)
	var at *fs.PathError
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &at) || at.Path != filepath.Join(path, "f") {
		t.Errorf("%v", err)
	}
}
