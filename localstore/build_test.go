package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/realnix"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// LockObjects holds no lock while it waits for another, and takes all or none.
func TestLockObjects(t *testing.T) {
	root := t.TempDir()
	s, other := open(t, Options{Root: root}), open(t, Options{Root: root})
	a, b, c := somePath(t, 1).Base(), somePath(t, 2).Base(), somePath(t, 3).Base()+".drv.out"
	held, err := other.LockObjects(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if locks, err := s.TryLockObjects(t.Context(), a, b); locks != nil || err != nil {
		t.Fatalf("a held lock is locked: %v, %v", locks, err)
	}
	reported := make(chan string, 10)
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if start, ok := e.(activity.Start); ok && start.Type == activity.BuildWaiting {
			reported <- start.Text
		}
	}))
	got := make(chan heldLocks, 1)
	go func() {
		locks, err := s.LockObjects(ctx, c, b, a, b)
		if err != nil {
			t.Error(err)
		}
		got <- locks
	}()
	dir := s.storeName + "/"
	want := "waiting for lock on '" + dir + a + "', '" + dir + b + "', '" + dir + c + "'"
	if text := <-reported; text != want {
		t.Errorf("reported %q, want %q", text, want)
	}
	free, err := other.TryLockObjects(t.Context(), a, c)
	if free == nil || err != nil {
		t.Fatalf("a waiting process holds locks: %v", err)
	}
	held.Release()
	free.Release()
	locks := <-got
	if err := locks.Check(); err != nil {
		t.Error(err)
	}
	if again, err := other.TryLockObjects(t.Context(), c); again != nil || err != nil {
		t.Errorf("all are not locked: %v", err)
	}
	locks.Release()
	if left, _ := filepath.Glob(filepath.Join(s.storeDir, "*.lock")); left != nil {
		t.Errorf("left: %q", left)
	}
	ended, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	held, err = other.LockObjects(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if _, err := s.LockObjects(ended, a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the context: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", strings.Repeat("x", 255)} {
		if _, err := s.LockObjects(t.Context(), name); !errors.Is(err, errNoLockName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Processes that lock the same objects in any order all get them in the end.
func TestLockObjectsCrosswise(t *testing.T) {
	root := t.TempDir()
	names := []string{somePath(t, 1).Base(), somePath(t, 2).Base(), somePath(t, 3).Base()}
	var work sync.WaitGroup
	for i := range 6 {
		s := open(t, Options{Root: root})
		work.Go(func() {
			for range 20 {
				locks, err := s.LockObjects(t.Context(), names[i%3], names[(i+1)%3])
				if err != nil {
					t.Error(err)
					return
				}
				locks.Release()
			}
		})
	}
	work.Wait()
}

// outputInfo returns the info of an output as it stands on the disk.
func outputInfo(t *testing.T, file string, path storepath.Path, references ...storepath.Path) *store.PathInfo {
	t.Helper()
	hash, size, err := nar.HashPath(t.Context(), file, nixhash.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{Path: path, NARHash: hash, NARSize: size, References: references, Ultimate: true}
}

// makeOutput makes a canonical directory with a file.
func makeOutput(t *testing.T, dir, name, text string) string {
	t.Helper()
	out := filepath.Join(dir, name)
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "file"), []byte(text), 0o444),
		os.Chmod(filepath.Join(out, "file"), 0o444), os.Chtimes(filepath.Join(out, "file"), time.Unix(1, 0), time.Unix(1, 0)),
		os.Chmod(out, 0o555), os.Chtimes(out, time.Unix(1, 0), time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	return out
}

// makePrivateDir makes a directory in the store directory that is removed after the test.
func makePrivateDir(t *testing.T, s *Store) string {
	t.Helper()
	object := s.ObjectFile(somePath(t, 99))
	dir, err := os.MkdirTemp(filepath.Dir(object), filepath.Base(object)+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Remove(dir) })
	return dir
}

// addOutputs adds two outputs, as a build does. The first one refers to the second one.
func addOutputs(t *testing.T, s *Store, a, b storepath.Path) {
	t.Helper()
	ctx := t.Context()
	locks, err := s.LockObjects(ctx, a.Base(), b.Base())
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Release()
	dir := makePrivateDir(t, s)
	infoA := outputInfo(t, makeOutput(t, dir, "a", "refers to "+string(b)), a, b)
	infoB := outputInfo(t, makeOutput(t, dir, "b", "text"), b)
	if err := os.WriteFile(s.ObjectFile(a), []byte("the rest of an attempt"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.AddOutput(ctx, filepath.Join(dir, "a"), infoA, false, true); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "b"), s.ObjectFile(b)); err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	} else if err == nil { // made in its place
		err = s.AddOutput(ctx, s.ObjectFile(b), infoB, false, true)
		if err != nil {
			t.Fatal(err)
		}
	} else if err := s.AddOutput(ctx, filepath.Join(dir, "b"), infoB, false, true); err != nil {
		t.Fatal(err)
	}
	if err := s.RegisterOutputs(ctx, []*store.PathInfo{infoA}); err == nil {
		t.Error("registered without its reference")
	}
	if valid, err := s.IsValidPath(ctx, a); valid || err != nil {
		t.Error(valid, err)
	}
	if err := errors.Join(locks.Check(), s.RegisterOutputs(ctx, []*store.PathInfo{infoA, infoB})); err != nil {
		t.Fatal(err)
	}
}

// Outputs become valid together; a valid one is replaced only on demand.
func TestAddOutput(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), AutoOptimise: true, SyncObjects: true})
	ctx, a, b := t.Context(), somePath(t, 1), somePath(t, 2)
	addOutputs(t, s, a, b)
	if remain, err := s.VerifyStore(ctx, true, false); remain || err != nil {
		t.Error(remain, err)
	}
	dir := makePrivateDir(t, s)
	other := makeOutput(t, dir, "x", "another text")
	info := outputInfo(t, other, b)
	if err := s.AddOutput(ctx, other, info, false, true); err == nil {
		t.Error("a valid object was replaced")
	}
	if err := s.AddOutput(ctx, other, info, true, true); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(s.ObjectFile(b), "file")); string(text) != "another text" {
		t.Error(text, err)
	}
	if err := s.RemoveObject(ctx, b); !errors.Is(err, errIsValid) {
		t.Errorf("removing a valid object: %v", err)
	}
	if err := s.RegisterOutputs(ctx, []*store.PathInfo{info}); err != nil {
		t.Fatal(err)
	}
	got, err := s.QueryPathInfo(ctx, b)
	if err != nil || got.NARHash != info.NARHash {
		t.Errorf("after the repair: %v, %v", got, err)
	}
	if remain, err := s.VerifyStore(ctx, true, false); remain || err != nil {
		t.Error(remain, err)
	}
}

// UpdateInfo changes the given fields of a path info, and nothing else.
func TestUpdateInfo(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	ctx, a, b := t.Context(), somePath(t, 1), somePath(t, 2)
	if err := s.UpdateInfo(ctx, &store.PathInfo{Path: a, NARHash: nixhash.Sum(nixhash.SHA256, nil)}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an invalid path: %v", err)
	}
	addOutputs(t, s, a, b)
	before, err := s.QueryPathInfo(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	change := *before
	change.Ultimate, change.Signatures = false, []string{"k-1:" + strings.Repeat("A", 86) + "=="}
	if err := s.UpdateInfo(ctx, &change); err != nil {
		t.Fatal(err)
	}
	after, err := s.QueryPathInfo(ctx, a)
	if err != nil || after.Ultimate || !slices.Equal(after.Signatures, change.Signatures) || !slices.Equal(after.References, before.References) || after.Deriver != before.Deriver {
		t.Errorf("%+v, %v", after, err)
	}
}

// What a check has found different is kept beside the object, and replaced by the next.
func TestKeepCheck(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	dir := makePrivateDir(t, s)
	for _, text := range []string{"one", "two"} {
		file, err := s.KeepCheck(t.Context(), makeOutput(t, dir, "x", text), somePath(t, 1))
		if err != nil || file != s.ObjectFile(somePath(t, 1))+".check" {
			t.Fatal(file, err)
		}
		if got, err := os.ReadFile(filepath.Join(file, "file")); string(got) != text {
			t.Error(string(got), err)
		}
	}
	if err := objects.Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1 << 60}); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.storeDir, "*-test*")); left != nil {
		t.Errorf("left: %q", left)
	}
}

// A new log replaces an older one in any form, and contains everything written so far.
func TestCreateLog(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	drv := somePath(t, 1)
	name := s.log(drv)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name+".bz2", []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	read := func(want string) {
		t.Helper()
		log, err := s.BuildLog(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if got, err := io.ReadAll(log); string(got) != want {
			t.Errorf("the log is %q, %v; want %q", got, err, want)
		}
	}
	for _, text := range []string{"first\n", "second\n"} {
		log, err := s.CreateLog(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		read("")
		io.WriteString(log, text)
		read(text)
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(name + ".bz2"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the compressed log is still there")
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o644 {
		t.Error(info.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
		t.Errorf("%d files in the directory of the log, %v", len(files), err)
	}
}

// Nix accepts outputs that were registered here.
func TestRealOutputs(t *testing.T) {
	realnix.Each(t, func(t *testing.T, suite realnix.Suite) {
		d := realnix.Start(t, suite, nil)
		s := openReal(t, d, Options{})
		addOutputs(t, s, somePath(t, 1), somePath(t, 2))
		realVerify(t, d)
		if !strings.HasPrefix(d.Version, "2.3.") {
			checkAgree(t, d, s)
		}
	})
}

// RemoveObject removes an output to which a builder adds files for a moment longer.
func TestRemoveObjectInUse(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	dir := s.ObjectFile(somePath(t, 1))
	for range 5 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(100 * time.Millisecond)
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := 0; time.Now().Before(deadline); i++ {
					os.WriteFile(filepath.Join(dir, fmt.Sprint(w, "-", i)), nil, 0o644) // the directory may be gone
				}
			})
		}
		if err := s.RemoveObject(t.Context(), somePath(t, 1)); err != nil {
			t.Error(err)
		}
		writers.Wait()
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the object is still there: %v", err)
		}
	}
}

// The log of a derivation can have the longest name, and nothing else is left beside it.
func TestLogOfLongestName(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	drv, err := s.Dir().ParseBase(strings.Repeat("0", 32) + "-" + strings.Repeat("x", storepath.MaxNameLen-4) + ".drv")
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.CreateLog(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(s.log(drv))); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
