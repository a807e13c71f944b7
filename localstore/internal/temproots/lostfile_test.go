package temproots

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/storepath"
)

// If the file has lost its name, the next addition creates it again with all roots, even if that addition adds no new
// root.
func TestFileGone(t *testing.T) {
	p, q := somePath(t, 1), somePath(t, 2)
	for name, lose := range map[string]func(t *testing.T, s State){
		"deleted":       func(t *testing.T, s State) { os.Remove(ownFile(t, s)) },
		"replaced":      func(t *testing.T, s State) { replace(t, ownFile(t, s)) },
		"directory":     func(t *testing.T, s State) { os.RemoveAll(s.RootsDir()) },
		"state":         func(t *testing.T, s State) { os.RemoveAll(s.Dir) },
		"state renamed": func(t *testing.T, s State) { os.Rename(s.Dir, s.Dir+"-gone") },
	} {
		for what, again := range map[string]storepath.Path{"known": p, "new": q} {
			t.Run(name+" "+what, func(t *testing.T) {
				s := newState(t)
				r := newRoots(t, s)
				before := addRoots(t, r, p)
				if err := before.Check(); err != nil {
					t.Error(err)
				}
				lose(t, s)
				if err := before.Check(); !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held: %v", err)
				}
				after := addRoots(t, r, again)
				want(t, s, "afterwards", slices.Compact([]storepath.Path{p, again})...)
				if err := after.Check(); err != nil {
					t.Error(err)
				}
				// A collector may have run in between.
				if err := before.Check(); !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held: %v", err)
				}
				release, err := before.Keep()
				if !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held was kept: %v", err)
				}
				release()
			})
		}
	}
}

func replace(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// A process that only holds its roots also creates the file again, but not if the store was deleted.
func TestFileGoneWhileIdle(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	addRoots(t, r, somePath(t, 1), somePath(t, 2))
	lost := ownFile(t, s)
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	isWhole := func() bool {
		names := files(t, s)
		if len(names) == 0 {
			return false
		}
		text, err := os.ReadFile(filepath.Join(s.RootsDir(), names[0]))
		return err == nil && bytes.Count(text, []byte{0}) == 2
	}
	for deadline := time.Now().Add(30 * time.Second); !isWhole(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not created again")
		}
	}
	want(t, s, "afterwards", somePath(t, 1), somePath(t, 2))
	r.process.mu.Lock()
	for r.process.secured != r.process.generation { // so that the watcher can create files
		r.process.mu.Unlock()
		time.Sleep(time.Millisecond)
		r.process.mu.Lock()
	}
	err := os.Rename(s.Dir, s.Dir+"-gone")
	r.process.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(watchInterval + watchInterval/4)
	if _, err := os.Lstat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory was created again: %v", err)
	}
}

// If another store has taken its place, the roots are sent to its collectors.
func TestStateReplacedWhileIdle(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	addRoots(t, r, somePath(t, 1))
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.RootsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); len(files(t, s)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not created again")
		}
	}
	c := beginCollection(t, s)
	defer endCollection(t, c)
	addRoots(t, r, somePath(t, 2))
	c.Choose(func(arrived []string) []string {
		if !slices.Contains(arrived, somePath(t, 2).HashPart()) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
}

// A collector that has started while no file existed knows none of the roots. So all roots of the process are sent to
// it, even if the collector is deleting the path of another session.
func TestFileGoneWhileCollecting(t *testing.T) {
	s := newState(t)
	r, other := newRoots(t, s), newRoots(t, s)
	addRoots(t, r, somePath(t, 1))
	addRoots(t, other, somePath(t, 2))
	if err := os.Remove(ownFile(t, s)); err != nil {
		t.Fatal(err)
	}
	c := beginCollection(t, s)
	defer endCollection(t, c)
	if roots, err := c.Roots(t.Context()); len(roots) > 0 || err != nil {
		t.Fatal(roots, err)
	}
	c.Choose(func(arrived []string) []string { return []string{somePath(t, 2).HashPart()} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Add(ctx, somePath(t, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a root of another user is deleted: %v", err)
	}
	c.Done(somePath(t, 2).HashPart())
	addRoots(t, r, somePath(t, 1))
	c.Choose(func(arrived []string) []string {
		slices.Sort(arrived)
		if !slices.Equal(slices.Compact(arrived), []string{somePath(t, 1).HashPart(), somePath(t, 2).HashPart()}) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	// From now on additions behave as before.
	held := addRoots(t, r, somePath(t, 1), somePath(t, 3))
	c.Choose(func(arrived []string) []string {
		if !slices.Equal(arrived, []string{somePath(t, 3).HashPart()}) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	if err := held.Check(); err != nil {
		t.Error(err)
	}
}

// A store may be deleted while a collector runs in it. Roots in the store that takes its place are sent to the
// collector of that store.
func TestCollectorOfRemovedStore(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	old := beginCollection(t, s)
	addRoots(t, r, somePath(t, 1)) // which keeps the connection
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	c := beginCollection(t, s)
	addRoots(t, r, somePath(t, 2))
	c.Choose(func(arrived []string) []string {
		if !slices.Contains(arrived, somePath(t, 2).HashPart()) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	endCollection(t, old) // which does not remove the socket of the other collector
	if conn, err := dial(t.Context(), s.socket()); conn == nil || err != nil {
		t.Errorf("the collector does not listen: %v", err)
	} else {
		conn.Close()
	}
	endCollection(t, c)
	if held, err := r.Add(t.Context()); err != nil || held != (Held{}) {
		t.Errorf("adding no root: %v, %v", held, err)
	}
}

// The lock is taken by name: if the store is deleted during the wait, the old lock has no effect.
func TestLockIsReplaced(t *testing.T) {
	s := newState(t)
	first := beginCollection(t, s)
	began := make(chan *Collector)
	waiting := make(chan struct{})
	go func() {
		c, err := NewCollector(t.Context(), s, func(line string) {
			if !strings.HasPrefix(line, "waiting for the big") {
				t.Error(line)
			}
			close(waiting)
		})
		if err != nil {
			t.Error(err)
		}
		began <- c
	}()
	<-waiting
	if err := os.Remove(s.gcLock()); err != nil {
		t.Fatal(err)
	}
	if err := first.Check(); err == nil {
		t.Error("a collector does not detect that its lock was deleted")
	}
	endCollection(t, first)
	second := <-began
	defer endCollection(t, second)
	if err := second.Check(); err != nil {
		t.Error(err)
	}
	lock, err := s.openGCLock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if free, err := flock.Try(lock.File, flock.Shared); free || err != nil {
		t.Error("the lock with the current name was not taken", err)
	}
}

// If the state directory was deleted and cannot be created again, every call fails. Calls succeed after it exists
// again.
func TestStateCannotBeMade(t *testing.T) {
	s := newState(t)
	r, other := newRoots(t, s), newRoots(t, s)
	held := addRoots(t, r, somePath(t, 1))
	addRoots(t, other, somePath(t, 2))
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Add(t.Context(), somePath(t, 3)); err == nil {
			t.Error("a root was added without a directory")
		}
		if release, err := held.Keep(); err == nil {
			t.Error("a root is held without a directory")
		} else {
			release()
		}
		if err := errors.Join(r.Tidy(), other.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(s.Dir); err != nil {
		t.Fatal(err)
	}
	addRoots(t, r, somePath(t, 4))
	want(t, s, "afterwards", somePath(t, 1), somePath(t, 4))
}
