package realise_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// A process does not build on a machine what another process builds on one. It waits for the locks of the outputs, and other
// derivations can use the machine meanwhile.
func TestRemoteBuildLocksOutputs(t *testing.T) {
	n := newNetwork(t, "ssh-ng://a - - 1")
	release := make(chan struct{})
	n.build = func(ctx context.Context, name string) *store.BuildResult {
		if name == "x" {
			<-release
		}
		return nil
	}
	// The other process has locks of its own.
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: strings.TrimSuffix(n.local.StoreDirName(), string(storepath.DefaultDir))})
	if err != nil {
		t.Fatal(err)
	}
	first, second := n.store(), n.storeOver(local)
	defer first.Close()
	defer second.Close()

	x, machine := n.derive("x"), n.machines["ssh-ng://a"]
	build := func(s *realise.Store, drv storepath.Path, waits *atomic.Int32) store.BuildStatus {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			if start, ok := e.(activity.Start); ok && start.Type == activity.BuildWaiting {
				waits.Add(1)
			}
		}))
		results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal)
		if err != nil || len(results) != 1 {
			t.Errorf("%s: %+v, %v", drv, results, err)
			return store.MiscFailure
		}
		return results[0].Status
	}
	var waits, other atomic.Int32
	firstStatus, secondStatus := make(chan store.BuildStatus, 1), make(chan store.BuildStatus, 1)
	go func() { firstStatus <- build(first, x, &other) }()
	waitUntil(t, func() bool { return machine.builds.Load() == 1 })
	go func() { secondStatus <- build(second, x, &waits) }()
	waitUntil(t, func() bool { return waits.Load() > 0 || machine.builds.Load() > 1 })
	for _, name := range []string{"y", "z"} {
		if status := build(second, n.derive(name), &other); status != store.Built {
			t.Errorf("%s: %v while the first process builds", name, status)
		}
	}
	close(release)
	if one, two := <-firstStatus, <-secondStatus; one != store.Built || two != store.AlreadyValid || machine.builds.Load() != 3 {
		t.Errorf("%v and %v after %d builds", one, two, machine.builds.Load())
	}
}
