package main

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"pix/localstore"
	"pix/store/memstore"
)

// An error of a full disk gets advice for a store in a directory, and no other error does.
func TestAdviceOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := &fs.PathError{Op: "write", Path: dir + "/x", Err: syscall.ENOSPC}
	if got := adviceOnFullDisk(s, full); !strings.HasSuffix(got.Error(), "no space left on device; 'pix gc' deletes paths that no root needs, and works on a full disk") {
		t.Error(got)
	}
	if got := adviceOnFullDisk(memstore.New(nil), full); got != error(full) {
		t.Error(got)
	}
	if got := adviceOnFullDisk(s, fs.ErrPermission); got != fs.ErrPermission {
		t.Error(got)
	}
	if err := adviceOnFullDisk(s, nil); err != nil {
		t.Error(err)
	}
	elsewhere := &fs.PathError{Op: "write", Path: "/dev/no-such-file", Err: syscall.ENOSPC} // a file system of its own
	if got := adviceOnFullDisk(s, elsewhere); got != error(elsewhere) {
		t.Error(got)
	}
	if got := adviceOnFullTemp(elsewhere); !strings.HasSuffix(got.Error(), "no space left on device; set TMPDIR to a directory with more space") {
		t.Error(got)
	}
	if got := adviceOnFullTemp(fs.ErrPermission); got != fs.ErrPermission {
		t.Error(got)
	}
}
