package localstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/latency"
	"pix/store"
	"pix/storepath"
)

// Large archives are read in parallel, even if they arrive slowly.
func TestLargeArchivesAtOnce(t *testing.T) {
	src, paths := latency.LargeObjects(t, 6)
	src.Wait = latency.InPairs()
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	told := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if !mu.TryLock() {
			t.Error("two goroutines call the handler at the same time")
			return
		}
		defer mu.Unlock()
		switch e.(type) {
		case activity.Start:
			running++
		case activity.Stop:
			running, done = running-1, done+1
		}
		most = max(most, running)
	}))
	s := open(t, Options{Root: t.TempDir()})
	copied, err := store.Copy(told, s, src, paths, nil)
	if err != nil || len(copied) != len(paths) {
		t.Fatal(len(copied), err)
	}
	if most < 3 || running != 0 || done != len(paths)+1 {
		t.Errorf("%d activities were open at once, %d are open, %d have ended", most, running, done)
	}
	if bad, err := s.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
}

// If one archive fails, the other paths become valid, and no part of the failed one remains.
func TestLargeArchiveFails(t *testing.T) {
	src, paths := latency.LargeObjects(t, 4)
	broken := errors.New("connection lost")
	reading := make(chan struct{})
	var first, second sync.Once
	src.Wait = func(ctx context.Context, _ storepath.Path) error {
		isFirst := false
		first.Do(func() { isFirst = true })
		if isFirst {
			<-reading // until another one is read too
			return broken
		}
		second.Do(func() { close(reading) })
		return ctx.Err()
	}
	s := open(t, Options{Root: t.TempDir()})
	latency.CheckCopyOthers(t, broken, s, src, paths)
	if names := onDisk(t, s); len(names) != len(paths)-1 {
		t.Errorf("the store has %q", names)
	}
}

// A cancelled copy ends, even if its archives never arrive.
func TestLargeArchivesCancelled(t *testing.T) {
	src, paths := latency.LargeObjects(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	src.Wait = func(ctx context.Context, _ storepath.Path) error {
		cancel()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	s := open(t, Options{Root: t.TempDir()})
	start := time.Now()
	if _, err := store.Copy(ctx, s, src, paths, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the call took %v", took)
	}
}
