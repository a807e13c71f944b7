package pathlock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
)

// inodeOf returns the inode number of a file.
func inodeOf(t *testing.T, name string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// newLocks returns the locks of an empty store, and the name of an object in it.
func newLocks(t *testing.T) (l *Locks, object string) {
	t.Helper()
	dir := t.TempDir()
	l = New(filepath.Join(dir, "locks"), NewBudget(100))
	t.Cleanup(l.Close)
	return l, filepath.Join(dir, "object")
}

// spareFiles returns the names in the directory of spare lock files.
func spareFiles(t *testing.T, l *Locks) []string {
	t.Helper()
	names, err := filepath.Glob(l.spares.dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// waiter opens a lock file as Nix does, waits for its lock, and sends the size of the file.
func waiter(t *testing.T, name string) <-chan int64 {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size := make(chan int64, 1)
	go func() {
		defer f.Close()
		if err := flock.Lock(t.Context(), f, flock.Exclusive, nil); err != nil {
			t.Error(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Error(err)
			size <- -1
			return
		}
		size <- info.Size()
	}()
	return size
}

// take returns a function that checks that a lock was taken, and returns it.
func take(t *testing.T) func(*Lock, error) *Lock {
	return func(l *Lock, err error) *Lock {
		t.Helper()
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		return l
	}
}

// One file is used for different paths, one after the other, as long as no other process has opened it.
func TestSpares(t *testing.T) {
	locks, first := newLocks(t)
	second := first + "2"
	l := take(t)(locks.Lock(t.Context(), first, nil))
	inode := inodeOf(t, l.name)
	if other, err := locks.Try(first); other != nil || err != nil {
		t.Errorf("two locks of one path: %v", err)
	}
	beside := take(t)(locks.Try(second))
	if inodeOf(t, beside.name) == inode {
		t.Error("two locked paths have the same file")
	}
	beside.Release()
	l.Release()
	if _, err := os.Lstat(l.name); !os.IsNotExist(err) {
		t.Errorf("the name of the lock remains: %v", err)
	}
	l = take(t)(locks.Lock(t.Context(), second, nil))
	if inodeOf(t, l.name) != inode {
		t.Error("an unused file was not reused")
	}
	size := waiter(t, l.name)
	l.Release()
	if n := <-size; n == 0 {
		t.Error("a waiting process got a lock without the stale mark")
	}
	l = take(t)(locks.Lock(t.Context(), second, nil))
	if inodeOf(t, l.name) == inode {
		t.Error("a file that another process had opened was reused")
	}
	l.Release()
	locks.Close()
	if left := spareFiles(t, locks); len(left) > 0 {
		t.Errorf("after Close: %q", left)
	}
}

// A process that opens a file just after the check that no process has opened it soon detects that the file is stale,
// whether the file is reused or not.
func TestSpareOpenedLate(t *testing.T) {
	locks, object := newLocks(t)
	for _, used := range []bool{false, true} {
		take(t)(locks.Lock(t.Context(), object, nil)).Release()
		files := spareFiles(t, locks)
		if len(files) != 1 {
			t.Fatalf("the spares are %q", files)
		}
		size := waiter(t, files[0])
		if used {
			take(t)(locks.Lock(t.Context(), object, nil)).Release()
		}
		select {
		case n := <-size:
			if n == 0 {
				t.Error("a process that opened the file late got a lock without the stale mark")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a process that opened the file late waits for ever")
		}
	}
}

// The files of a killed process are deleted, and the files of a living process stay.
func TestSparesLeft(t *testing.T) {
	locks, object := newLocks(t)
	if err := os.MkdirAll(locks.spares.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	left, held := filepath.Join(locks.spares.dir, "left"), filepath.Join(locks.spares.dir, "held")
	for _, name := range []string{left, held} {
		f, err := flock.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if name == held {
			if locked, err := flock.Try(f.File, flock.Exclusive); err != nil || !locked {
				t.Fatal(locked, err)
			}
		}
	}
	take(t)(locks.Lock(t.Context(), object, nil)).Release()
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("the file of a killed process was not deleted: %v", err)
	}
	if _, err := os.Lstat(held); err != nil {
		t.Error("the file of another process was deleted:", err)
	}
}

// If files cannot be kept for reuse, locking works without them.
func TestNoSpares(t *testing.T) {
	for name, spoil := range map[string]func(l *Locks, object string) error{
		"no directory": func(l *Locks, _ string) error { return os.WriteFile(l.spares.dir, nil, 0o444) },
		"another disk": func(l *Locks, _ string) error {
			dir, err := os.MkdirTemp("/dev/shm", "pix")
			t.Cleanup(func() { os.RemoveAll(dir) })
			l.spares.dir = dir
			return err
		},
		"deleted": func(l *Locks, object string) error {
			take(t)(l.Lock(t.Context(), object, nil)).Release()
			return os.RemoveAll(l.spares.dir)
		},
	} {
		locks, object := newLocks(t)
		if err := spoil(locks, object); err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		for range 2 {
			l := take(t)(locks.Lock(t.Context(), object, nil))
			l.Release()
			if _, err := os.Lstat(l.name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the lock file remains: %v", name, err)
			}
		}
	}
}
