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

// Large archives are read beside each other, however slowly they come.
func TestLargeArchivesAtOnce(t *testing.T) {
	src, paths := latency.LargeObjects(t, 6)
	src.Wait = latency.InPairs()
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	told := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if !mu.TryLock() {
			t.Error("the handler is called by two at once")
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
		t.Errorf("%d activities went on at once, %d go on, %d have ended", most, running, done)
	}
	if bad, err := s.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
}

// When one archive fails, the others become valid, and nothing is left of that one.
func TestLargeArchiveFails(t *testing.T) {
	src, paths := latency.LargeObjects(t, 4)
	broken := errors.New("it broke off")
	reading := make(chan struct{})
	var once sync.Once
	src.Wait = func(ctx context.Context, _ storepath.Path) error {
		first := false
		once.Do(func() { first = true })
		if first {
			<-reading // until another is read, too
			return broken
		}
		select {
		case reading <- struct{}{}:
		case <-time.After(10 * time.Millisecond): // the first waits for one only
		}
		return ctx.Err()
	}
	s := open(t, Options{Root: t.TempDir()})
	latency.CheckCopyOthers(t, broken, s, src, paths)
	if names := onDisk(t, s); len(names) != len(paths)-1 {
		t.Errorf("%q are there", names)
	}
}

// A copy that is cancelled ends, whatever does not come.
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
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
