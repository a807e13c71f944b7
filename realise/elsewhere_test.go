package realise_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// A busyMachine is a machine with one slot, in which "far-blocker" is built. Builds of x count, and wait for release.
type busyMachine struct {
	*network
	s             *realise.Store
	x             storepath.Path
	builds, waits atomic.Int32 // of x, and calls that have waited for the machine
	free, release chan struct{}
	freed         chan struct{} // closed when the machine has become free
}

func newBusyMachine(t *testing.T) *busyMachine {
	m := &busyMachine{network: newNetwork(t, "ssh-ng://a - - 1"), free: make(chan struct{}), release: make(chan struct{}), freed: make(chan struct{})}
	m.x = m.derive("x")
	m.build = func(ctx context.Context, name string) *store.BuildResult {
		if name == "far-blocker" {
			<-m.free
			return nil
		}
		if present := m.validOutputs(ctx); len(present) == 2 {
			return &store.BuildResult{Status: store.AlreadyValid, Outputs: present}
		}
		m.builds.Add(1)
		<-m.release
		return nil
	}
	m.s = m.store()
	t.Cleanup(func() { m.s.Close() })
	go func() {
		defer close(m.freed)
		m.call(m.derive("far-blocker"))
	}()
	waitUntil(t, func() bool { return m.machines["ssh-ng://a"].now.Load() == 1 })
	return m
}

// validOutputs returns the outputs of x that are valid here.
func (m *busyMachine) validOutputs(ctx context.Context) map[string]store.Realisation {
	present := make(map[string]store.Realisation)
	outputs, err := store.OutputMap(ctx, m.local, m.x)
	if err != nil {
		m.t.Error(err)
	}
	for name, path := range outputs {
		if valid, err := m.local.IsValidPath(ctx, path); err != nil {
			m.t.Error(err)
		} else if valid {
			present[name] = store.Realisation{OutPath: path}
		}
	}
	return present
}

// call builds a derivation, and returns the status.
func (m *busyMachine) call(drv storepath.Path) store.BuildStatus {
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		if start, ok := e.(activity.Start); ok && start.Type == activity.BuildWaiting {
			m.waits.Add(1)
		}
	}))
	results, err := m.s.BuildPathsWithResults(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal)
	if err != nil || len(results) != 1 {
		m.t.Errorf("%s: %+v, %v", drv, results, err)
		return store.MiscFailure
	}
	return results[0].Status
}

func waitUntil(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing happens")
		}
	}
}

// A derivation that this machine builds is not built on a machine at the same time, also by a call that builds nothing
// here. A derivation that a machine builds is not built here at the same time.
func TestBuiltInOnePlace(t *testing.T) {
	for what, test := range map[string]struct {
		elsewhere bool // the first build is on the machine
		jobs      int  // of the second call
	}{
		"first here":                       {false, 1},
		"first here, the second has none":  {false, 0},
		"first there":                      {true, 1},
		"first there, the second has none": {true, 0},
	} {
		t.Run(what, func(t *testing.T) {
			m := newBusyMachine(t)
			if test.elsewhere {
				close(m.free)
				<-m.freed
			} else {
				m.jobs = 1
			}
			var calls sync.WaitGroup
			var statuses [2]store.BuildStatus
			calls.Go(func() { statuses[0] = m.call(m.x) })
			waitUntil(t, func() bool { return m.builds.Load() == 1 })
			if test.elsewhere && test.jobs > 0 {
				m.remote.Machines = nil // the second call builds here
			} else if !test.elsewhere {
				close(m.free)
				<-m.freed
			}
			m.jobs = test.jobs
			calls.Go(func() { statuses[1] = m.call(m.x) })
			time.Sleep(30 * time.Millisecond)
			close(m.release)
			calls.Wait()
			if m.builds.Load() != 1 || statuses != [2]store.BuildStatus{store.Built, store.AlreadyValid} {
				t.Errorf("%d builds, %v", m.builds.Load(), statuses)
			}
		})
	}
}

// A call that waits for a machine does not delay another call that can build here.
func TestWaitingForMachineDelaysNoCall(t *testing.T) {
	m := newBusyMachine(t)
	close(m.release)
	waiting := make(chan store.BuildStatus)
	go func() { waiting <- m.call(m.x) }()
	waitUntil(t, func() bool { return m.waits.Load() == 1 })
	m.jobs = 1
	if status := m.call(m.x); status != store.Built {
		t.Error(status)
	}
	close(m.free)
	if status := <-waiting; status != store.AlreadyValid || m.builds.Load() != 1 {
		t.Errorf("%v after %d builds", status, m.builds.Load())
	}
}
