package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/flock"
	"pix/store"
	"pix/storepath"
)

// Files with similar names as generations do not count, are not changed, and are not replaced.
func TestOddFiles(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.set("a")
	target := string(w.path("a"))
	for _, name := range []string{
		"profile-02-link", "profile-+2-link", "profile--2-link", "profile-2-link.tmp-7-7", "profile-2-link-link", "profile-x-link", "profile--link",
		"profile-4294967296-link", "profile-99999999999999999999999-link", "profile-2\n-link", "profile\n-2-link", "Profile-2-link", "profile2-2-link", "profile-2-linkx",
	} {
		w.link(target, name)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "profile-3-link"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(w.dir, "profile-4-link"), 0o666); err != nil {
		t.Fatal(err)
	}
	w.link("/etc", "profile-5-link")
	w.link("profile-6-link", "profile-6-link")
	w.link(target+"/inside", "profile-7-link")
	w.link("../../../etc/passwd\x1b[2J", "profile-8-link")
	w.link(target+"/inside/../../../../etc", "profile-9-link")
	before := strings.Join(files(t, w.dir), "\n")
	w.expect("1* 5 6 7 8 9")
	for _, n := range []uint64{5, 6, 8, 9} {
		if _, err := w.Switch(ctx, n); err == nil {
			t.Errorf("switched to generation %d", n)
		}
	}
	for _, n := range []uint64{2, 3, 4} {
		var none *GenerationError
		if _, err := w.Switch(ctx, n); !errors.As(err, &none) {
			t.Errorf("switched to generation %d: %v", n, err)
		}
	}
	if after := strings.Join(files(t, w.dir), "\n"); after != before {
		t.Errorf("files\n%s\nbefore\n%s", after, before)
	}
	if g := w.set("b"); g.Number != 10 {
		t.Errorf("generation %d", g.Number)
	}
	deleted, err := w.Delete(ctx, Old())
	if err != nil || numbers(deleted) != "1* 5 6 7 8 9" && numbers(deleted) != "1 5 6 7 8 9" {
		t.Error(numbers(deleted), err)
	}
	for _, name := range []string{"profile-02-link", "profile-3-link", "profile-4-link", "profile-2-link.tmp-7-7"} {
		if _, err := os.Lstat(filepath.Join(w.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestLastNumber(t *testing.T) {
	w := newWorld(t)
	w.link(string(w.path("a")), "profile-4294967295-link")
	var last *GenerationError
	if _, err := w.Set(t.Context(), w.store, w.path("b")); !errors.As(err, &last) || last.Number != maxNumber {
		t.Error(err)
	}
	w.set("a") // the same path needs no number
	w.expect("4294967295*")
}

// A lock that another process holds is waited for, until the context ends.
func TestLockIsHeld(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	w.set("b")
	f, err := flock.Open(filepath.Join(w.dir, "profile.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := flock.Try(f.File, flock.Exclusive); !ok || err != nil {
		t.Fatal(ok, err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if line, _ := activity.Line(e); line == "waiting for lock on profile '"+w.Link()+"'" {
			cancel(why)
		}
	}))
	if _, err := w.Rollback(ctx); err != why {
		t.Error(err)
	}
	w.expect("1 2*") // readers do not wait

	waiting := make(chan bool)
	ctx = activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { close(waiting) }))
	go func() { // the other process ends its work as Nix does
		<-waiting
		os.Remove(f.Name())
		f.Retire()
	}()
	if _, err := w.Rollback(ctx); err != nil {
		t.Error(err)
	}
	w.expect("1* 2")
	if _, err := os.Lstat(f.Name()); err == nil {
		t.Error("the lock file remains")
	}
}

// Lock files that killed processes or hostile users leave behind.
func TestOddLockFiles(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	name := filepath.Join(w.dir, "profile.lock")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, contents := range []string{"", "d", strings.Repeat("x", 10000)} {
		if err := os.WriteFile(name, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Switch(ctx, 1); err != nil {
			t.Errorf("%.10q: %v", contents, err)
		}
	}
	for what, create := range map[string]func() error{
		"directory": func() error { return os.Mkdir(name, 0o777) },
		"FIFO":      func() error { return syscall.Mkfifo(name, 0o666) },
		"symlink":   func() error { return os.Symlink(filepath.Join(w.dir, "victim"), name) },
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Switch(ctx, 1); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := os.Remove(name); err != nil {
			t.Error(what, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "victim")); err == nil {
		t.Error("a file was created through a symlink")
	}
}

// A hard link to a file of another user is no lock file: the stale mark would be written to that file.
func TestHardLinkedLockFile(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	victim := filepath.Join(w.dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(victim, filepath.Join(w.dir, "profile.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Switch(t.Context(), 1); err == nil {
		t.Error("the profile was locked with a file that has two names")
	}
	if text, err := os.ReadFile(victim); err != nil || len(text) > 0 {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// Temporary symlinks of killed processes do not prevent a switch, and old ones are deleted.
func TestTemporarySymlinks(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	for i := range 5 {
		w.link("profile-9-link", fmt.Sprintf(".%d_profile", i))
	}
	if _, err := w.Switch(t.Context(), 1); err != nil {
		t.Error(err)
	}
	w.expect("1*")
	for i := range maxTemporary {
		w.link("profile-9-link", fmt.Sprintf(".%d_profile", i))
	}
	if _, err := w.Switch(t.Context(), 1); err == nil {
		t.Error("switched without a free name")
	}
}

// Goroutines stand for processes: each opens the lock file for itself.
func TestConcurrentSets(t *testing.T) {
	w := newWorld(t)
	const writers, sets = 4, 10
	var group sync.WaitGroup
	for i := range writers {
		for j := range sets {
			w.path(fmt.Sprintf("p-%d-%d", i, j))
		}
	}
	for i := range writers {
		group.Go(func() {
			for j := range sets {
				if _, err := w.Set(t.Context(), w.store, w.path(fmt.Sprintf("p-%d-%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	all, err := w.Generations(t.Context())
	if err != nil || len(all) != writers*sets || !all[len(all)-1].Current || all[len(all)-1].Number != writers*sets {
		t.Errorf("%s: %v", numbers(all), err)
	}
	if got := len(files(t, w.dir)); got != writers*sets+1 {
		t.Errorf("%d files", got)
	}
}

// failingRooter registers no roots.
type failingRooter struct{ store.Store }

func (f failingRooter) Unwrap() store.Store { return f.Store }

func (f failingRooter) AddIndirectRoot(context.Context, string) error { return errors.New("refused") }

func (f failingRooter) AddPermRoot(context.Context, storepath.Path, string) (string, error) {
	return "", errors.New("refused")
}

func (f failingRooter) FindRoots(context.Context) ([]store.Root, error) { return nil, nil }

// A generation that is no root does not remain, and the profile does not change.
func TestRootIsRefused(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	if _, err := w.Set(t.Context(), failingRooter{w.store}, w.path("b")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	w.expect("1*")
}

// A directory that is put in the place of another one is not changed.
func TestFoundProfileDoesNotLeave(t *testing.T) {
	w := newWorld(t)
	w.set("a")
	w.set("b")
	anchor := t.TempDir()
	user := filepath.Join(anchor, "user")
	if err := os.Mkdir(user, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"profile": "profile-2-link", "profile-1-link": string(w.path("a")), "profile-2-link": string(w.path("b"))} {
		if err := os.Symlink(target, filepath.Join(user, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..", filepath.Join(user, "loop")); err != nil {
		t.Fatal(err)
	}
	found, err := Find(t.Context(), w.store.Dir(), anchor)
	if err != nil || len(found) != 1 || found[0].Link() != filepath.Join(user, "profile") {
		t.Fatal(found, err)
	}
	if err := os.Rename(user, user+"-moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.dir, user); err != nil {
		t.Fatal(err)
	}
	if deleted, err := found[0].Delete(t.Context(), Old()); err == nil {
		t.Errorf("deleted %s", numbers(deleted))
	}
	w.expect("1 2*")
}

// DeleteAll continues after a profile that cannot be changed.
func TestDeleteAll(t *testing.T) {
	defer func(d time.Duration) { lockWait = d }(lockWait)
	lockWait = 10 * time.Millisecond
	w := newWorld(t)
	ctx := t.Context()
	var all []*Profile
	for _, name := range []string{"broken", "locked", "old", "single"} {
		p, err := New(w.store.Dir(), filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		versions := []string{"1", "2"}
		if name == "single" {
			versions = versions[:1]
		}
		for _, version := range versions {
			if _, err := p.Set(ctx, w.store, w.path(name+version)); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, p)
	}
	w.link("broken-9-link", "broken")
	f, err := flock.Open(filepath.Join(w.dir, "locked.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if ok, err := flock.Try(f.File, flock.Exclusive); !ok || err != nil {
		t.Fatal(ok, err)
	}
	found, err := Find(ctx, w.store.Dir(), w.dir)
	if err != nil || len(found) != len(all) {
		t.Errorf("found %d profiles: %v", len(found), err)
	}
	var report []string
	for _, dryRun := range []bool{true, false} {
		err := DeleteAll(ctx, all, Old(), dryRun, func(d Deletion) error {
			report = append(report, fmt.Sprintf("%s [%s] %T", filepath.Base(d.Profile.Link()), numbers(d.Generations), d.Err))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	want := "broken [] *profile.GenerationError, locked [1] <nil>, old [1] <nil>, " +
		"broken [] *profile.GenerationError, locked [] *profile.LockedError, old [1] <nil>"
	if got := strings.Join(report, ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
