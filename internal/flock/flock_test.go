package flock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func openLock(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	a, b := openLock(t, name), openLock(t, name)
	for _, f := range []*File{a, b} {
		if ok, err := Try(f.File, Shared); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	c := openLock(t, name)
	if ok, err := Try(c.File, Exclusive); ok || err != nil {
		t.Error(ok, err)
	}
	waits := 0
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := Lock(ctx, c.File, Exclusive, func() { waits++; cancel(why) }); err != why || waits != 1 {
		t.Errorf("after %d calls: %v", waits, err)
	}
	if err := Unlock(a.File); err != nil {
		t.Error(err)
	}
	if err := Lock(t.Context(), c.File, Exclusive, func() { b.Close() }); err != nil {
		t.Error(err)
	}
	if ok, err := Try(a.File, Shared); ok || err != nil {
		t.Error(ok, err)
	}
	c.Close()
	if _, err := Try(c.File, Shared); err == nil {
		t.Error("a closed file was locked")
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "lock")
	f, waiting := openLock(t, name), openLock(t, name)
	linked := func(f *File, want bool) {
		t.Helper()
		if got, err := f.IsLinked(); got != want || err != nil {
			t.Errorf("linked: %v, %v", got, err)
		}
	}
	linked(f, true)
	if err := os.Symlink("lock", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if is, err := f.IsLinkedAs(filepath.Join(dir, "link")); is || err != nil {
		t.Error(is, err)
	}
	if err := os.Rename(name, name+"-2"); err != nil {
		t.Fatal(err)
	}
	linked(f, false)
	if is, err := f.IsLinkedAs(name + "-2"); !is || err != nil {
		t.Error(is, err)
	}
	linked(openLock(t, name), true)
	if deleted, err := f.IsDeleted(); deleted || err != nil {
		t.Error(deleted, err)
	}
	linked(f, false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	linked(f, false)
	if deleted, err := f.IsDeleted(); !deleted || err != nil {
		t.Error(deleted, err)
	}
	if empty, err := waiting.IsEmpty(); !empty || err != nil {
		t.Error(empty, err)
	}
	f.Retire()
	if empty, err := waiting.IsEmpty(); empty || err != nil {
		t.Error(empty, err)
	}
	if _, err := Open(filepath.Join(dir, "lock")); err == nil {
		t.Error("a file in a missing directory was opened")
	}
}
