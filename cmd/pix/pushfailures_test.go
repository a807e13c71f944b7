package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A brokenStore cannot read the archives of some paths.
type brokenStore struct {
	*memstore.Store

	mu    sync.Mutex
	bad   map[storepath.Path]bool
	tries int // to read one of them
}

func (s *brokenStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad[path] {
		s.tries++
		return nil, errors.New("the archive is damaged")
	}
	return s.Store.NARFromPath(ctx, path)
}

// attempts returns the number of attempts to read one of the paths.
func (s *brokenStore) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// A watchedPush is a watching push whose store cannot read some paths.
type watchedPush struct {
	src      *brokenStore
	dst      *memstore.Store
	warnings []string
	stop     func()
}

func startWatching(t *testing.T, bad, dependents int) (w *watchedPush, badPaths []storepath.Path) {
	t.Helper()
	p, src, dst := newPusher(t, true)
	w = &watchedPush{src: &brokenStore{Store: src, bad: make(map[storepath.Path]bool)}, dst: dst}
	for i := range bad {
		path := addText(t, src, fmt.Sprint("bad ", i))
		w.src.bad[path] = true
		badPaths = append(badPaths, path)
	}
	for i := range dependents {
		addText(t, src, fmt.Sprint("dependent ", i), badPaths[0])
	}
	p.src, p.warn = w.src, func(text string) { w.warnings = append(w.warnings, text) }
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() { ended <- p.watch(ctx, time.Second) }()
	w.stop = func() {
		cancel(errInterrupted)
		if err := <-ended; err != errInterrupted {
			t.Error(err)
		}
	}
	return w, badPaths
}

// pass waits for some time, and then until the push waits.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A path that a watching push cannot copy does not delay others, is reported once, tried again with pauses, and named at the
// end. A path that it can copy later is not named.
func TestWatchBadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, bad := startWatching(t, 2, 0)
		pass(2 * time.Second)
		if len(w.warnings) != 2 || !strings.Contains(strings.Join(w.warnings, " "), "the archive is damaged; trying again") {
			t.Errorf("warnings %q", w.warnings)
		}
		for i := range 100 {
			path := addText(t, w.src.Store, fmt.Sprint("good ", i))
			pass(1100 * time.Millisecond) // an interval
			if valid, err := w.dst.IsValidPath(t.Context(), path); !valid || err != nil {
				t.Fatalf("the new path %d was not copied within an interval: %v", i, err)
			}
		}
		if len(w.warnings) != 2 {
			t.Errorf("warnings %q", w.warnings)
		}
		if n := w.src.attempts(); n < 6 || n > 60 {
			t.Errorf("%d attempts in two minutes", n)
		}
		w.src.mu.Lock()
		delete(w.src.bad, bad[0])
		w.src.mu.Unlock()
		pass(2 * maxPathPause)
		if valid, err := w.dst.IsValidPath(t.Context(), bad[0]); !valid || err != nil {
			t.Errorf("a path that can be read now was not copied: %v", err)
		}
		before := w.src.attempts()
		pass(6 * maxPathPause)
		if n := w.src.attempts() - before; n < 1 || n > 15 {
			t.Errorf("%d attempts in an hour", n)
		}
		w.stop()
		if len(w.warnings) != 3 || !strings.Contains(w.warnings[2], string(bad[1])+"' was not copied: ") {
			t.Errorf("warnings %q", w.warnings)
		}
	})
}

// Many bad paths, also if a copy gives up after some of them, and many paths that refer to one, neither flood the terminal
// nor delay others for long.
func TestWatchManyBadPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWatching(t, 100, 200)
		pass(time.Minute)
		path := addText(t, w.src.Store, "good")
		pass(3 * time.Second)
		if valid, err := w.dst.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Errorf("a new path was not copied: %v", err)
		}
		if n := len(w.warnings); n == 0 || n > 150 {
			t.Errorf("%d warnings", n)
		}
		w.warnings = nil
		w.stop()
		if n := len(w.warnings); n != maxNamedPaths+1 || w.warnings[n-1] != "290 more paths not copied" {
			t.Errorf("warnings at the end: %q", w.warnings)
		}
	})
}

// A path that a watching push could copy at last is not named at the end.
func TestWatchEndsAfterRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, bad := startWatching(t, 1, 0)
		pass(3 * time.Second)
		w.src.mu.Lock()
		clear(w.src.bad)
		w.src.mu.Unlock()
		w.warnings = nil
		for range 600 {
			pass(100 * time.Millisecond) // less than an interval
			if valid, err := w.dst.IsValidPath(t.Context(), bad[0]); err != nil {
				t.Fatal(err)
			} else if valid {
				break
			}
		}
		w.stop()
		if len(w.warnings) != 0 {
			t.Errorf("warnings %q", w.warnings)
		}
	})
}

// A bad path that an earlier push has recorded, and to which a new path refers, is reported once.
func TestWatchBadRecordedPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, src, dst := newPusher(t, false)
		bad := addText(t, src, "bad")
		w := &watchedPush{src: &brokenStore{Store: src, bad: map[storepath.Path]bool{bad: true}}, dst: dst}
		p.src, p.warn = w.src, func(text string) { w.warnings = append(w.warnings, text) }
		if err := p.step(t.Context()); err != nil { // records the path
			t.Fatal(err)
		}
		addText(t, src, "dependent", bad)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() { ended <- p.watch(ctx, time.Second) }()
		pass(6 * maxPathPause)
		warnings := len(w.warnings)
		if n := w.src.attempts(); n < 5 || n > 30 {
			t.Errorf("%d attempts in an hour", n)
		}
		cancel(errInterrupted)
		if err := <-ended; err != errInterrupted || warnings != 2 { // of the path, and of the other one
			t.Errorf("error %v, %d warnings: %q", err, warnings, w.warnings)
		}
	})
}

// A vanishingStore lists paths that it does not have any more.
type vanishingStore struct {
	*memstore.Store
	gone map[storepath.Path]bool
}

func (s *vanishingStore) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	if s.gone[path] {
		return false, nil
	}
	return s.Store.IsValidPath(ctx, path)
}

func (s *vanishingStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if s.gone[path] {
		return nil, &store.NotFoundError{Path: path}
	}
	return s.Store.QueryPathInfo(ctx, path)
}

// A path that is deleted while a push runs is not recorded: when it is valid again, the next push copies it.
func TestPushDeletedPath(t *testing.T) {
	for others := range 2 {
		p, src, dst := newPusher(t, true)
		path := addText(t, src, "text")
		for i := range others {
			addText(t, src, fmt.Sprint("other ", i))
		}
		vanishing := &vanishingStore{src, map[storepath.Path]bool{path: true}}
		p.src = vanishing
		if err := p.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		clear(vanishing.gone)
		if err := p.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if valid, err := dst.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Errorf("with %d other paths: the path was not copied: %v", others, err)
		}
	}
}
