package localstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// garbage adds n texts that nobody keeps, each of a block of the disk.
func garbage(t *testing.T, s *Store, n int) {
	t.Helper()
	session, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.(*Store).Close()
	for i := range n {
		if _, err := store.AddText(t.Context(), session, fmt.Sprint("garbage-", i), strings.Repeat("x", 4096), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func countValid(t *testing.T, s *Store) int {
	t.Helper()
	paths, err := s.QueryAllValidPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(paths)
}

// fullStore returns a store on a disk of which free says how much is free, with ten texts that are
// garbage, and the lines of what it says.
func fullStore(t *testing.T, opts Options, free *uint64) (*Store, context.Context, *[]string) {
	opts.Root = t.TempDir()
	s := open(t, opts)
	s.auto.free = func(dir string) (uint64, error) {
		if dir != s.storeDir {
			t.Errorf("it is asked how full %s is", dir)
		}
		return *free, nil
	}
	s.auto.checked = time.Now().Add(-time.Hour)
	unlimited := *free
	*free = 1 << 40
	garbage(t, s, 10)
	s.auto.checked = time.Time{}
	*free = unlimited
	lines := new([]string)
	return s, activity.WithHandler(t.Context(), collectLines(lines)), lines
}

func add(t *testing.T, ctx context.Context, s *Store, name string) storepath.Path {
	t.Helper()
	path, err := s.AddTextToStore(ctx, name, "kept", nil)
	if err != nil {
		t.Fatal(err)
	}
	if valid, err := s.IsValidPath(ctx, path); !valid || err != nil {
		t.Error(path, valid, err)
	}
	return path
}

func TestAutoGC(t *testing.T) {
	free := uint64(1000)
	s, ctx, lines := fullStore(t, Options{MinFree: 2000}, &free)
	add(t, ctx, s, "first")
	if n := countValid(t, s); n != 1 {
		t.Errorf("%d paths are valid after a collection: %q", n, *lines)
	}
	// As there is no more free than it left, another one would be useless.
	garbage(t, s, 3)
	add(t, ctx, s, "second")
	if n := countValid(t, s); n != 5 {
		t.Errorf("%d paths are valid", n)
	}
	free = 900
	add(t, ctx, s, "third")
	if n := countValid(t, s); n != 3 {
		t.Errorf("%d paths are valid after another collection: %q", n, *lines)
	}
	// What is valid already needs no room, and who repairs collects nothing.
	free = 100
	garbage(t, open(t, Options{Root: s.opts.Root}), 1)
	add(t, ctx, s, "third")
	if n := countValid(t, s); n != 4 {
		t.Errorf("%d paths are valid", n)
	}
}

// A collection ends when enough is free.
func TestAutoGCUntil(t *testing.T) {
	free := uint64(1000)
	s, ctx, lines := fullStore(t, Options{MinFree: 2000, MaxFree: 11_000}, &free)
	add(t, ctx, s, "first")
	if n := countValid(t, s); n != 8 || (*lines)[0] != "running auto-GC to free 10000 bytes" {
		t.Errorf("%d paths are valid: %q", n, *lines)
	}
	free, s.opts.MaxFree = 900, 800 // so much is free already
	add(t, ctx, s, "second")
	if n := countValid(t, s); n != 9 {
		t.Errorf("%d paths are valid", n)
	}
}

// It is not looked all the time.
func TestAutoGCInterval(t *testing.T) {
	free := uint64(3000)
	s, ctx, _ := fullStore(t, Options{MinFree: 2000, MinFreeInterval: time.Hour}, &free)
	add(t, ctx, s, "first")
	free = 1000
	add(t, ctx, s, "second")
	if n := countValid(t, s); n != 12 {
		t.Errorf("%d paths are valid", n)
	}
	s.auto.checked = time.Now().Add(-2 * time.Hour)
	add(t, ctx, s, "third")
	if n := countValid(t, s); n != 3 {
		t.Errorf("%d paths are valid", n)
	}
}

// Where nobody knows how full the disk is, things are added all the same.
func TestAutoGCFails(t *testing.T) {
	free := uint64(1000)
	s, ctx, lines := fullStore(t, Options{MinFree: 2000}, &free)
	s.auto.free = func(string) (uint64, error) { return 0, errors.New("nobody knows") }
	add(t, ctx, s, "first")
	if len(*lines) != 1 || !strings.Contains((*lines)[0], "nobody knows") {
		t.Errorf("%q", *lines)
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	s.auto.sem <- struct{}{} // somebody collects
	cause := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if _, err := s.AddTextToStore(cancelled, "second", "x", nil); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	<-s.auto.sem
}

// Many add at once while each addition collects garbage.
func TestAutoGCAtOnce(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), MinFree: 2000})
	n := uint64(1 << 30)
	s.auto.free = func(string) (uint64, error) {
		n = n * 9 / 10
		return min(n, 1000), nil
	}
	var adding sync.WaitGroup
	for i := range 8 {
		adding.Go(func() {
			session, err := s.Session(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer session.(*Store).Close()
			var last []storepath.Path
			for j := range 20 {
				path, err := store.AddText(t.Context(), session, fmt.Sprint(i, "-", j), "x", last)
				if err != nil {
					t.Error(err)
					return
				}
				last = []storepath.Path{path}
			}
			if _, err := session.QueryPathInfo(t.Context(), last[0]); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if remain, err := s.VerifyStore(t.Context(), true, false); remain || err != nil {
		t.Error(remain, err)
	}
}

func TestReservedSpace(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct{ option, want int64 }{{0, 8 << 20}, {-1, 0}, {1 << 16, 1 << 16}} {
		s := open(t, Options{Root: root, ReservedSpace: c.option})
		if info, err := os.Stat(s.reserved()); err != nil || info.Size() != c.want {
			t.Errorf("%d: %v, %v", c.option, info.Size(), err)
		}
		garbage(t, s, 1)
		if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(s.reserved()); err != nil || info.Size() != c.want {
			t.Errorf("%d after a collection: %v, %v", c.option, info.Size(), err)
		}
	}
}
