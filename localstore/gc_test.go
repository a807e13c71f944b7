package localstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/flock"
	"pix/store"
	"pix/storepath"
)

var deleteAll = store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}

// addTexts adds n texts. With chain, each refers to the one before.
func addTexts(t testing.TB, s *Store, n int, chain bool) []storepath.Path {
	t.Helper()
	session, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.(*Store).Close()
	var paths, refs []storepath.Path
	for i := range n {
		p, err := session.(*Store).AddTextToStore(t.Context(), "text", fmt.Sprint(i), refs)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
		if chain {
			refs = []storepath.Path{p}
		}
	}
	return paths
}

// A collection ends when its context is done, even while it waits, and another one can start immediately.
func TestCollectCancelled(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	addTexts(t, s, 600, true)
	_, end := beginCollection(t, s.layout)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.CollectGarbage(ctx, deleteAll); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another collects: %v", err)
	}
	end()

	why := errors.New("enough")
	ctx, stop := context.WithCancelCause(t.Context())
	deleted := 0
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if deleted++; deleted == 300 {
			stop(why)
		}
	}))
	if _, err := s.CollectGarbage(ctx, deleteAll); !errors.Is(err, why) {
		t.Errorf("cancelled while it deletes: %v", err)
	}
	if remain, lines := verify(t, s, true, false); remain {
		t.Errorf("afterwards: %q", lines)
	}
	result, err := s.CollectGarbage(t.Context(), deleteAll)
	if err != nil || len(result.Paths) == 0 || len(result.Paths) > 600 {
		t.Errorf("collected again: %d paths, %v", len(result.Paths), err)
	}
	if paths, err := s.QueryAllValidPaths(t.Context()); err != nil || len(paths) > 0 {
		t.Errorf("%d paths are left, %v", len(paths), err)
	}
}

// A root that is added while a collection deletes keeps the paths that it needs, if they still exist.
func TestRootsWhileCollecting(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	paths := addTexts(t, s, 2000, true)
	last := paths[len(paths)-1]
	user := open(t, Options{Root: s.opts.Root})
	var middle storepath.Path
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		// The last paths are deleted first, some hundreds at a time.
		if log, ok := e.(activity.Log); ok && log.Text == "deleting '"+string(last)+"'" {
			middle = paths[1000]
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			// The last one is being deleted now. The deletion continues while this test waits for it.
			for _, p := range []storepath.Path{middle, last} {
				if err := user.AddTempRoot(ctx, p); err != nil {
					t.Error(err)
				}
			}
		}
	}))
	result, err := s.CollectGarbage(ctx, deleteAll)
	if err != nil || middle == "" {
		t.Fatal(middle, err)
	}
	valid, err := s.QueryAllValidPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(paths[:1001]))
	if !slices.Equal(valid, want) || len(result.Paths) != 999 {
		t.Errorf("%d paths are left, and %d deleted", len(valid), len(result.Paths))
	}
	if remain, lines := verify(t, s, true, false); remain {
		t.Errorf("afterwards: %q", lines)
	}
}

// A path that another process registers without a root during a collection, and the paths that it refers to, are not
// deleted.
func TestRegisteredWhileCollecting(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	paths := addTexts(t, s, 1000, false)
	text, err := s.QueryPathInfo(t.Context(), paths[0])
	if err != nil {
		t.Fatal(err)
	}
	var fresh *store.PathInfo
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if log, ok := e.(activity.Log); !ok || log.Text != "deleting garbage..." {
			return
		}
		fresh = info(t, "fresh", paths[500], paths[501])
		fresh.NARHash, fresh.NARSize = text.NARHash, text.NARSize
		if err := os.WriteFile(s.object(fresh.Path), []byte("0"), 0o444); err != nil {
			t.Error(err)
		}
		if err := s.registerValidPaths(t.Context(), fresh); err != nil {
			t.Error(err)
		}
	}))
	if _, err := s.CollectGarbage(ctx, deleteAll); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values([]storepath.Path{fresh.Path, paths[500], paths[501]}))
	if valid, err := s.QueryAllValidPaths(t.Context()); err != nil || !slices.Equal(valid, want) {
		t.Errorf("valid paths are %q, %v; want %q", valid, err, want)
	}
	if remain, lines := verify(t, s, true, false); remain {
		t.Errorf("afterwards: %q", lines)
	}
}

// A temporary directory is deleted if no process uses it: pix makes its own a temporary root, and Nix locks its own.
func TestCollectTempDirs(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	used, err := s.newTempDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer used.remove()
	const ended = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-pix-tmp-1"
	for _, name := range []string{"tmp-1-left", "tmp-2-locked", ended} {
		if err := os.MkdirAll(filepath.Join(s.storeDir, name, "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	locked, err := os.Open(filepath.Join(s.storeDir, "tmp-2-locked"))
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	if free, err := flock.Try(locked, flock.Exclusive); !free || err != nil {
		t.Fatal(free, err)
	}
	result, err := s.CollectGarbage(t.Context(), deleteAll)
	if err != nil || !slices.Equal(result.Paths, []string{"/nix/store/" + ended, "/nix/store/tmp-1-left"}) {
		t.Errorf("deleted %q, %v", result.Paths, err)
	}
	entries, err := os.ReadDir(s.storeDir)
	if err != nil || len(entries) != 3 { // and .links
		t.Errorf("left: %q, %v", entries, err)
	}

	if roots, err := s.FindRoots(t.Context()); err != nil || len(roots) > 0 {
		t.Errorf("the name is listed as a root: %v, %v", roots, err)
	}

	// The next one has the same name, which stays a root until the store is closed.
	name := used.name
	if err := used.remove(); err != nil {
		t.Error(err)
	}
	if used, err = s.newTempDir(t.Context()); err != nil || used.name != name {
		t.Errorf("%+v, %v", used, err)
	}
}

// A read-only store answers queries and cannot be changed.
func TestReadOnlyStore(t *testing.T) {
	root := t.TempDir()
	paths := addTexts(t, open(t, Options{Root: root}), 2, false)
	s := open(t, Options{Root: root, ReadOnly: true})
	if _, err := s.CollectGarbage(t.Context(), deleteAll); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := s.OptimiseStore(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := s.AddIndirectRoot(t.Context(), "/link"); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if _, err := s.AddPermRoot(t.Context(), paths[0], "/link"); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := s.AddTempRoot(t.Context(), paths[0]); err != nil {
		t.Error(err)
	}
	// Stale roots stay.
	left := []string{filepath.Join(s.tempRoots(), "99999999"), filepath.Join(s.autoRoots(), "link")}
	if err := os.WriteFile(left[0], []byte(string(paths[0])+"\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceSymlink("/nowhere", left[1]); err != nil {
		t.Fatal(err)
	}
	if roots, err := s.FindRoots(t.Context()); err != nil || len(roots) > 0 {
		t.Error(roots, err)
	}
	for _, name := range left {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
	if remain, lines := verify(t, s, true, false); remain {
		t.Errorf("verified: %q", lines)
	}
	if err := os.Remove(s.object(paths[1])); err != nil {
		t.Fatal(err)
	}
	if remain, lines := verify(t, s, true, true); !remain {
		t.Errorf("verified: %q", lines)
	}
	if valid, err := s.QueryAllValidPaths(t.Context()); err != nil || len(valid) != 2 {
		t.Errorf("%q, %v", valid, err)
	}
}

// A process may make its temporary root permanent, and end, while a collector searches for roots.
func TestRootAddedWhileSearching(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	path := addTexts(t, s, 1, false)[0]
	other, err := os.Create(filepath.Join(s.tempRoots(), "99999999"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if free, err := flock.Try(other, flock.Exclusive); !free || err != nil {
		t.Fatal(free, err)
	}
	if _, err := other.WriteString(string(path) + "\x00"); err != nil {
		t.Fatal(err)
	}
	if err := replaceSymlink("/nowhere", filepath.Join(s.autoRoots(), "stale")); err != nil {
		t.Fatal(err)
	}
	added := false
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		// The collector has already read gcroots.
		if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "removing stale link") {
			rootTo(t, s.layout, "new", path)
			other.Close()
			added = true
		}
	}))
	if _, err := s.CollectGarbage(ctx, deleteAll); err != nil || !added {
		t.Fatal(added, err)
	}
	if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
		t.Errorf("valid: %v, %v", valid, err)
	}
}

// Only the owner of the store, who may add to it, can connect to the socket of the collector.
func TestGCSocketMode(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	seen := 0
	look := func() {
		lock, err := os.Stat(filepath.Join(s.stateDir, "gc.lock"))
		if err != nil {
			t.Fatal(err)
		}
		socket, err := os.Stat(filepath.Join(s.stateDir, "gc-socket/socket"))
		if err != nil {
			t.Fatal(err)
		}
		if lock.Mode().Perm() != 0o600 || socket.Mode().Perm() != 0o600 {
			t.Errorf("the lock has mode %v, the socket %v", lock.Mode(), socket.Mode())
		}
		seen++
	}
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { look() }))
	if _, err := s.CollectGarbage(ctx, deleteAll); err != nil {
		t.Fatal(err)
	}
	look()
	if seen < 2 {
		t.Error("the socket did not exist during the collection")
	}
}
