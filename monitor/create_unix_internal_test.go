//go:build unix

package monitor

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A recording does not go into a file that another user has prepared: it replaces files, and does not
// follow links to files.
func TestCreateRecorder(t *testing.T) {
	dir := t.TempDir()
	victim, link, old := filepath.Join(dir, "victim"), filepath.Join(dir, "link"), filepath.Join(dir, "old")
	for _, name := range []string{victim, old} {
		if err := os.WriteFile(name, []byte("before"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateRecorder(link); err == nil {
		t.Error("a link is followed")
	}
	opened, err := os.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if err := os.Link(old, filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{old, filepath.Join(dir, "new")} {
		r, err := CreateRecorder(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Lstat(name); err != nil || info.Mode() != 0o600 || info.Size() != headerSize {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if b, err := io.ReadAll(opened); string(b) != "before" {
		t.Errorf("the owner of the old file reads %q, %v", b, err)
	}
	if entries, err := os.ReadDir(dir); len(entries) != 5 {
		t.Errorf("got %v, %v", entries, err)
	}
}

// A recording can go to a pipe.
func TestCreateRecorderOfPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(pipe)
		read <- b
	}()
	r, err := CreateRecorder(pipe)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if b := <-read; len(b) != headerSize {
		t.Errorf("got %q", b)
	}
}
