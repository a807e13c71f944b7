package pathlock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pix/internal/flock"
)

// Lock calls waiting after a while, and does not accept a stale file.
func TestWait(t *testing.T) {
	defer func(d time.Duration) { reportAfter = d }(reportAfter)
	reportAfter = 50 * time.Millisecond
	dir := t.TempDir()
	locks, object := New(filepath.Join(dir, "locks"), NewBudget(100)), filepath.Join(dir, "object")
	defer locks.Close()
	f, err := flock.Open(object + suffix) // as another process does
	if err != nil {
		t.Fatal(err)
	}
	if locked, err := flock.Try(f.File, flock.Exclusive); !locked || err != nil {
		t.Fatal(locked, err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	waits := 0
	waiting := func() { waits++; cancel(why) }
	if _, err := locks.Lock(ctx, object, waiting); err != why || waits != 1 {
		t.Errorf("after %d calls: %v", waits, err)
	}
	l, err := locks.Lock(t.Context(), object, func() {
		os.Remove(f.Name())
		f.Retire()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	l.Release()
}

// A lock file that has the stale mark and still its name is replaced.
func TestMarkedFile(t *testing.T) {
	dir := t.TempDir()
	locks, object := New(filepath.Join(dir, "locks"), NewBudget(100)), filepath.Join(dir, "object")
	defer locks.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, lock := range []func() (*Lock, error){
		func() (*Lock, error) { return locks.Lock(ctx, object, nil) },
		func() (*Lock, error) { return locks.Try(object) },
	} {
		if err := os.WriteFile(object+suffix, []byte("d"), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := lock()
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		if err := l.Check(); err != nil {
			t.Error(err)
		}
		l.Release()
	}
	if err := os.Mkdir(object+suffix, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := locks.Lock(ctx, object, nil); err == nil || ctx.Err() != nil {
		t.Errorf("a directory was locked: %v", err)
	}
}

// Lock does not call waiting if the lock is free.
func TestNoWait(t *testing.T) {
	dir := t.TempDir()
	locks := New(filepath.Join(dir, "locks"), NewBudget(100))
	defer locks.Close()
	l, err := locks.Lock(t.Context(), filepath.Join(dir, "object"), func() { t.Error("Lock calls waiting") })
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

// When the budget is used up, Try returns nil, and Lock waits until a lock is released or its context is done.
func TestBudget(t *testing.T) {
	dir := t.TempDir()
	object := func(name string) string { return filepath.Join(dir, name) }
	synctest.Test(t, func(t *testing.T) {
		locks := New(filepath.Join(dir, "locks"), NewBudget(100))
		locks.spares.broken = true // spares need a timer, which would wait in real time
		locks.budget = NewBudget(2)
		var held []*Lock
		for _, name := range []string{"a", "b"} {
			l, err := locks.Try(object(name))
			if l == nil || err != nil {
				t.Fatal(l, err)
			}
			held = append(held, l)
		}
		if l, err := locks.Try(object("c")); l != nil || err != nil {
			t.Error(l, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if l, err := locks.Lock(ctx, object("c"), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(l, err)
		}
		time.AfterFunc(time.Second, held[0].Release)
		l, err := locks.Lock(t.Context(), object("c"), nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		held[1].Release()
	})
}

// A failed call of Lock or Try does not use the budget.
func TestBudgetAfterError(t *testing.T) {
	dir := t.TempDir()
	locks := New(filepath.Join(dir, "locks"), NewBudget(100))
	defer locks.Close()
	locks.budget = NewBudget(1)
	for range 3 {
		if l, err := locks.Lock(t.Context(), filepath.Join(dir, "missing/object"), nil); err == nil {
			t.Fatal(l)
		}
		if l, err := locks.Try(filepath.Join(dir, "missing/object")); err == nil {
			t.Fatal(l)
		}
	}
	if l, err := locks.Try(filepath.Join(dir, "object")); l == nil || err != nil {
		t.Fatal(l, err)
	} else {
		l.Release()
	}
}
