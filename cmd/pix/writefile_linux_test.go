package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
)

// A file that cannot be replaced is written: a file that is a mount point, as in a container, also if its directory is on a read-only
// file system. The mount stays.
func TestWriteFileMounted(t *testing.T) {
	testenv.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		file, source := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "source")
		for _, name := range []string{file, source} {
			if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount(source, file, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"text", "other text"} {
			if err := writeFile(t.Context(), file, []byte(text)); err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(source); string(b) != text {
				t.Errorf("the mounted file has %q, %v", b, err)
			}
			if entries, err := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("the directory has %v, %v", entries, err)
			}
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A file that root writes still belongs to its owner.
func TestWriteFileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make the file of another user that the test needs; the project's check runs as root")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 1234, 5678); err != nil {
		testenv.Missing(t, "daemons", "files cannot be given away, because the user namespace has one user: "+err.Error())
	}
	if err := writeFile(t.Context(), file, []byte("text")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 5678 || info.Mode() != 0o600 {
		t.Errorf("the file belongs to %d:%d and is %v", s.Uid, s.Gid, info.Mode())
	}
}

// While a file that only its owner may read is replaced, no other user can read the new contents.
func TestWriteFileStaysPrivate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- writeFile(t.Context(), file, bytes.Repeat([]byte("x"), 64<<20)) }()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range names {
			if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), ".pix-") && info.Mode().Perm()&0o077 != 0 {
				t.Fatalf("the new file is %v and has %d bytes", info.Mode(), info.Size())
			}
		}
		time.Sleep(time.Millisecond)
	}
}
