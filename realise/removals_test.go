package realise_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/realise"
	"pix/store"
)

// The removal of the directories of a build delays no other build, but ends before the call does.
func TestRemovals(t *testing.T) {
	w := newWorld(t)
	first := w.derive("first")
	second := w.derive("second", first)
	third := w.derive("third", second)
	below := &executor{w, w.local}
	var mu sync.Mutex
	var order []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, text)
	}
	secondBegun := make(chan struct{})
	build := func(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
		name := strings.TrimSuffix(req.Path.Name(), ".drv")
		note(name)
		if name == "second" {
			close(secondBegun)
		}
		result, err := below.Build(ctx, req)
		req.Later(func() error {
			switch name {
			case "first":
				<-secondBegun // the next build does not wait for this
			case "third":
				time.Sleep(20 * time.Millisecond) // the call waits for this
			}
			note("removed " + name)
			return errors.New("cannot remove " + name)
		})
		return result, err
	}
	s := realise.New(w.local, &realise.Options{Settings: func(context.Context, store.Store) (*realise.Settings, error) {
		return &realise.Settings{MaxJobs: 1, Executor: executorFunc(build)}, nil
	}})
	var warnings []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok && l.Level == activity.LevelWarn {
			warnings = append(warnings, l.Text)
		}
	}))
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(third)}, store.BuildNormal); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second", "third"} {
		if !slices.Contains(order, "removed "+name) {
			t.Errorf("the call ends before the directories of %s are removed: %q", name, order)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "cannot remove ") {
		t.Errorf("the warnings are %q", warnings)
	}
}
