//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A verb that writes a FILE replaces an old one in one step, so a failed write leaves the old contents. The mode stays, and a
// symlink still leads to the file.
func TestWriteFileReplaces(t *testing.T) {
	dir, links := t.TempDir(), t.TempDir()
	old, link := filepath.Join(dir, "old"), filepath.Join(links, "link")
	if err := os.WriteFile(old, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(old, 0o640); err != nil { // independently of the umask
		t.Fatal(err)
	}
	if err := os.Symlink(old, link); err != nil {
		t.Fatal(err)
	}
	opened, err := os.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	pixOutput(t, "--store", storeOf(t), "view", "--export", link)
	if b, err := io.ReadAll(opened); string(b) != "before" {
		t.Errorf("a reader of the old file got %.40q, %v", b, err)
	}
	if b, err := os.ReadFile(old); !strings.HasPrefix(string(b), "<!DOCTYPE html>") {
		t.Errorf("the file has %.40q, %v", b, err)
	}
	if info, err := os.Lstat(old); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	for _, d := range []string{dir, links} {
		if entries, err := os.ReadDir(d); len(entries) != 1 {
			t.Errorf("the directory has %v, %v", entries, err)
		}
	}
	if target, err := os.Readlink(link); target != old {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

// Neither a pipe nor a device, a symlink to a missing file, or a write-protected file is replaced.
func TestWriteFileKeepsKind(t *testing.T) {
	dir := t.TempDir()
	missing, link, pipe := filepath.Join(dir, "missing"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(missing, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(t.Context(), link, []byte("text")); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(missing); string(b) != "text" {
		t.Errorf("the target of the link has %q, %v", b, err)
	}
	read := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(pipe)
		read <- b
	}()
	if err := writeFile(t.Context(), pipe, []byte("text")); err != nil {
		t.Error(err)
	}
	if b := <-read; string(b) != "text" {
		t.Errorf("the pipe gave %q", b)
	}
	if err := writeFile(t.Context(), os.DevNull, []byte("text")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	if err := writeFile(ctx, pipe, nil); err != errInterrupted { // it waits for a reader
		t.Errorf("got %v", err)
	}
	protected := filepath.Join(dir, "protected")
	if err := os.WriteFile(protected, []byte("before"), 0o444); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // root may write every file
		if err := writeFile(t.Context(), protected, []byte("text")); !errors.Is(err, os.ErrPermission) {
			t.Errorf("got %v", err)
		}
	}
	if err := writeFile(t.Context(), filepath.Join(dir, "none", "file"), nil); err == nil || strings.Contains(err.Error(), ".pix-") {
		t.Errorf("got %v", err)
	}
}

// The page can go to standard output by its name, also to one that appends to a file.
func TestWriteFileToDescriptor(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for _, c := range []struct{ redirect, before string }{{">>", "before\n"}, {"| cat >", ""}} {
		if err := os.WriteFile(log, []byte("before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `pix --store "$0" view --export /dev/stdout `+c.redirect+` "$1"`, storeOf(t), log)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if b, err := os.ReadFile(log); !strings.HasPrefix(string(b), c.before+"<!DOCTYPE html>") {
			t.Errorf("%s: the file has %.40q, %v", c.redirect, b, err)
		}
	}
	if entries, err := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// storeOf returns a new store with a path.
func storeOf(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "store")
	pixOutput(t, "--store", dir, "add-text", "hello", "hello world")
	return dir
}
