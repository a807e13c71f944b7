package realise_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// AfterBuild gets each derivation that was built with all of its outputs, once, before anything that needs them is built.
func TestAfterBuild(t *testing.T) {
	w := newWorld(t)
	low := w.derive("low")
	top := w.derive("top", low)
	var mu sync.Mutex
	var called []string
	w.after = func(ctx context.Context, drv storepath.Path, outputs []storepath.Path) error {
		mu.Lock()
		defer mu.Unlock()
		called = append(called, drv.Name())
		if drv == low && slices.Contains(w.built, "top") {
			t.Error("top was built before the hook of low has ended")
		}
		for _, path := range outputs {
			if valid, err := w.local.IsValidPath(ctx, path); err != nil || !valid {
				t.Errorf("%s is not valid: %v", path, err)
			}
		}
		if len(outputs) != 2 {
			t.Errorf("outputs %q", outputs)
		}
		return nil
	}
	s := w.store()
	for range 2 { // the second call builds nothing
		if err := s.BuildPaths(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(called, " "); got != "low.drv top.drv" {
		t.Errorf("called for %q", got)
	}
	called = nil
	text, err := store.Derivations(w.local).LoadDerivation(t.Context(), w.derive("single"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := derivation.ParseAt(w.derive("single"), text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.BuildDerivation(t.Context(), w.derive("single"), d, store.BuildNormal); err != nil || len(called) != 1 {
		t.Errorf("BuildDerivation: %q, %v", called, err)
	}
}

// A hook that does not end delays neither other builds of the call nor other calls, although there is one slot. It ends when
// the call is cancelled.
func TestAfterBuildHasNoSlot(t *testing.T) {
	w := newWorld(t)
	w.jobs = 1
	slow := w.derive("aaa") // is built first
	began := make(chan struct{})
	w.after = func(ctx context.Context, drv storepath.Path, _ []storepath.Path) error {
		if drv == slow {
			close(began)
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}
	s := w.store()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other, last := w.derive("other"), w.derive("zzz")
	ended := make(chan error)
	go func() {
		ended <- s.BuildPaths(ctx, []derivation.DerivedPath{out(slow), out(last)}, store.BuildNormal)
	}()
	<-began
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(other)}, store.BuildNormal); err != nil {
		t.Error(err)
	}
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(slow)}, store.BuildNormal); err != nil { // it is valid
		t.Error(err)
	}
	for isBuilt := false; !isBuilt; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the hook blocks a build of its own call")
		}
		w.mu.Lock()
		isBuilt = slices.Contains(w.built, "zzz")
		w.mu.Unlock()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The failure of a hook ends the call, also with keep-going, and the outputs stay valid.
func TestAfterBuildFails(t *testing.T) {
	w := newWorld(t)
	w.jobs, w.keep = 1, true
	w.after = func(context.Context, storepath.Path, []storepath.Path) error {
		return errors.New(`program "hook" failed with exit code 1`)
	}
	low := w.derive("low")
	top := w.derive("top", low)
	_, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err == nil || err.Error() != `program "hook" failed with exit code 1` {
		t.Error(err)
	}
	w.after = nil
	if _, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal); err != nil {
		t.Error(err)
	}
	if got := strings.Join(w.built, " "); got != "low top" {
		t.Errorf("built %q", got)
	}
}
