package localstore

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pix/localstore/internal/flock"
)

// inodeOf returns which file has a name.
func inodeOf(t *testing.T, name string) uint64 {
	t.Helper()
	st, err := lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// spareFiles returns the names in the directory of spare lock files.
func spareFiles(t *testing.T, s *Store) []string {
	t.Helper()
	names, err := filepath.Glob(s.spareLocksDir() + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// waiter opens a lock file as Nix does, and returns what it finds in it when it has got the lock.
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

// One file serves one path after another, as long as nobody else has it open.
func TestSpareLocks(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	first, _ := object(t, "first")
	second, _ := object(t, "second")
	take := func(l *pathLock, err error) *pathLock {
		t.Helper()
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		if err := l.mustHold(); err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := take(s.lockPath(t.Context(), first.Path))
	inode := inodeOf(t, l.name)
	if other, err := s.tryLockPath(first.Path); other != nil || err != nil {
		t.Errorf("two have the lock of one path: %v", err)
	}
	beside := take(s.tryLockPath(second.Path))
	if inodeOf(t, beside.name) == inode {
		t.Error("two paths that are locked at once have one file")
	}
	beside.release()
	l.release()
	if _, err := os.Lstat(l.name); !os.IsNotExist(err) {
		t.Errorf("the name of the lock stays: %v", err)
	}
	l = take(s.lockPath(t.Context(), second.Path))
	if inodeOf(t, l.name) != inode {
		t.Error("a file that nobody else has open is not used again")
	}
	size := waiter(t, l.name)
	l.release()
	if n := <-size; n == 0 {
		t.Error("who waited takes a lock for his own that has lost its name")
	}
	l = take(s.lockPath(t.Context(), second.Path))
	if inodeOf(t, l.name) == inode {
		t.Error("a file is used again that somebody else had open")
	}
	l.release()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left := spareFiles(t, s); len(left) > 0 {
		t.Errorf("closing left %q", left)
	}
}

// Who opens a file after it was looked whether anybody has it open learns soon that it is stale,
// whether it is used again or not.
func TestSpareLockOpenedLate(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, _ := object(t, "x")
	for _, used := range []bool{false, true} {
		l, err := s.lockPath(t.Context(), info.Path)
		if err != nil {
			t.Fatal(err)
		}
		l.release()
		spares := spareFiles(t, s)
		if len(spares) != 1 {
			t.Fatalf("there are %q", spares)
		}
		size := waiter(t, spares[0])
		if used {
			if l, err = s.lockPath(t.Context(), info.Path); err != nil {
				t.Fatal(err)
			}
			l.release()
		}
		select {
		case n := <-size:
			if n == 0 {
				t.Error("who opened it late takes the lock for his own")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("who opened it late waits for ever")
		}
	}
}

// What a process left that was killed is deleted, and what another one has is not.
func TestSpareLocksLeft(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	dir := s.spareLocksDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	left, held := filepath.Join(dir, "left"), filepath.Join(dir, "held")
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
	if _, err := s.AddTextToStore(t.Context(), "x", "x", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("what a dead process left is still there: %v", err)
	}
	if _, err := os.Lstat(held); err != nil {
		t.Error("what another process has is gone:", err)
	}
}

// Where there can be no spares all goes on without.
func TestNoSpareLocks(t *testing.T) {
	for name, spoil := range map[string]func(s *Store) error{
		"no directory": func(s *Store) error { return os.WriteFile(filepath.Dir(s.spareLocksDir()), nil, 0o444) },
		"another disk": func(s *Store) error {
			dir, err := os.MkdirTemp("/dev/shm", "pix")
			t.Cleanup(func() { os.RemoveAll(dir) })
			s.spareLocks.dir = dir
			return err
		},
		"deleted": func(s *Store) error {
			s.AddTextToStore(t.Context(), "before", "", nil)
			return os.RemoveAll(s.spareLocksDir())
		},
	} {
		s := open(t, Options{Root: t.TempDir()})
		if err := spoil(s); err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		for _, text := range []string{"one", "two"} {
			if _, err := s.AddTextToStore(t.Context(), "x", text, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if left, _ := filepath.Glob(s.storeDir + "/*.lock"); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}
