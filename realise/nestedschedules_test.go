package realise_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/builder"
	"pix/derivation"
	"pix/nixconf"
	"pix/realise"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A nestedCall is what a builder builds in its store, at one moment of its own build.
type nestedCall struct {
	wants  []*recursive
	hangUp time.Duration // 0 is never
}

// A recursive is a derivation whose builder builds others.
type recursive struct {
	path     storepath.Path
	calls    []nestedCall
	parallel bool // the calls run at the same time
	duration time.Duration
	running  bool
	started  func() // may be nil
}

// A nestedSchedule is a store whose builders and clients build the same derivations.
type nestedSchedule struct {
	t     *testing.T
	store *memstore.Store
	far   *memstore.Store // of a machine that builds for some clients, without builds of its own
	slots *realise.Slots
	most  int  // builders may run at the same time
	calm  bool // no call hangs up or has a limit
	drvs  []*recursive
	calls []func(s *realise.Store)

	mu     sync.Mutex
	byPath map[storepath.Path]*recursive
	active int // builders that run, and do not wait for builds of their own
}

func newNestedSchedule(t *testing.T, r *rand.Rand) *nestedSchedule {
	s := &nestedSchedule{t: t, store: memstore.New(nil), byPath: make(map[storepath.Path]*recursive), calm: r.IntN(3) == 0}
	s.far = memstore.New(&memstore.Options{Build: s.buildFar})
	n := 1 + r.IntN(2)
	s.slots = realise.NewSlots(n)
	w := &world{t: t}
	for i := range 2 + r.IntN(5) {
		p := &recursive{duration: step * time.Duration(r.IntN(4)), parallel: r.IntN(2) == 0}
		var inputs []storepath.Path
		for _, other := range s.drvs {
			if r.IntN(5) == 0 {
				inputs = append(inputs, other.path)
			}
		}
		p.path = w.deriveIn(s.store, fmt.Sprint("d", i), inputs...)
		s.drvs = append(s.drvs, p)
		s.byPath[p.path] = p
	}
	for i, p := range s.drvs {
		for range r.IntN(4) {
			call := nestedCall{hangUp: s.hangUp(r)}
			for j, other := range s.drvs {
				if near := r.IntN(2) == 0; near && j > i || r.IntN(12) == 0 { // some builders need each other in a circle
					call.wants = append(call.wants, other)
				}
			}
			p.calls = append(p.calls, call)
		}
	}
	jobs := 1 + r.IntN(2)
	s.most = max(n, min(jobs, runtime.NumCPU()))
	for i := range 1 + r.IntN(4) {
		s.addClient(r, i, jobs)
	}
	return s
}

// hangUp returns after which time a call hangs up; 0 is never.
func (s *nestedSchedule) hangUp(r *rand.Rand) time.Duration {
	if s.calm || r.IntN(3) > 0 {
		return 0
	}
	return step * time.Duration(1+r.IntN(15)) / 2
}

// addClient adds a call of a client. It fails only for its own reasons.
func (s *nestedSchedule) addClient(r *rand.Rand, i, jobs int) {
	settings := &realise.Settings{
		MaxJobs: jobs, KeepGoing: true, Client: fmt.Sprint(i % 2), BuildKey: fmt.Sprint(r.IntN(4) / 3), Executor: s,
		Serve: func(context.Context, net.Listener, store.Store) error { return nil },
	}
	if !s.calm && r.IntN(4) == 0 {
		settings.Limits.Timeout = step * time.Duration(1+r.IntN(20))
	}
	if r.IntN(3) == 0 {
		settings.Remote = &realise.Remote{Machines: []nixconf.Machine{{Store: "far", Systems: []string{"x86_64-linux"}, MaxJobs: 1, Speed: 1}}}
	}
	var wants []*recursive
	for _, p := range s.drvs {
		if r.IntN(2) == 0 {
			wants = append(wants, p)
		}
	}
	start, hangUp := step/2*time.Duration(r.IntN(12)), s.hangUp(r)
	s.calls = append(s.calls, func(realiser *realise.Store) {
		time.Sleep(start)
		results, err := buildNested(context.WithValue(s.t.Context(), settingsKey{}, settings), realiser, nestedCall{wants, hangUp})
		if err != nil && (hangUp == 0 || !errors.Is(err, errHungUp)) {
			s.t.Errorf("client %d: %v", i, err)
		}
		for _, result := range results {
			if !result.Status.Succeeded() && settings.Limits.Timeout == 0 {
				s.t.Errorf("client %d: %s: %v %s", i, result.Path, result.Status, result.Message)
			}
		}
	})
}

type settingsKey struct{}

var errHungUp = errors.New("hung up")

// buildNested makes a call, and hangs up.
func buildNested(ctx context.Context, realiser *realise.Store, call nestedCall) ([]store.KeyedBuildResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if call.hangUp > 0 {
		defer time.AfterFunc(call.hangUp, func() { cancel(errHungUp) }).Stop()
	}
	var paths []derivation.DerivedPath
	for _, p := range call.wants {
		paths = append(paths, out(p.path))
	}
	return realiser.BuildPathsWithResults(ctx, paths, store.BuildNormal)
}

// begin notes that a derivation is built, here or on the machine, until the returned function is called.
func (s *nestedSchedule) begin(p *recursive) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.running {
		s.t.Errorf("%s is built twice at the same time", p.path)
	}
	p.running = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.running = false
	}
}

// buildFar builds on the machine.
func (s *nestedSchedule) buildFar(ctx context.Context, far *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
	p := s.byPath[path]
	defer s.begin(p)()
	select {
	case <-time.After(p.duration):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for name, o := range d.Outputs.All() {
		addObject(s.t, far, o.Path(), string(path)+name)
	}
	return nil
}

// Build is the executor.
func (s *nestedSchedule) Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
	p := s.byPath[req.Path]
	outputs := make(map[string]store.Realisation)
	for name, o := range req.Derivation.Outputs.All() {
		outputs[name] = store.Realisation{OutPath: o.Path()}
	}
	defer s.begin(p)()
	if valid, err := s.store.IsValidPath(ctx, outputs["out"].OutPath); err != nil || valid {
		return &store.BuildResult{Status: store.AlreadyValid, Outputs: outputs}, err
	}
	s.count(1)
	defer s.count(-1)
	req.Watcher.Started()
	if p.started != nil {
		p.started()
	}
	s.runCalls(ctx, p, realise.NestedStore(req))
	select {
	case <-time.After(p.duration):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	req.Watcher.Ended()
	for name, out := range outputs {
		addObject(s.t, s.store, out.OutPath, string(p.path)+name)
	}
	return &store.BuildResult{Status: store.Built, Outputs: outputs}, nil
}

// count counts builders that run. A builder that hangs up runs again although its slot is lent.
func (s *nestedSchedule) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active += n; s.calm && s.active > s.most {
		s.t.Errorf("%d builders run at the same time, not %d", s.active, s.most)
	}
}

// runCalls makes the calls of a builder, and ignores their failures. The builder counts as waiting before its first call
// begins: the build that the call asks for can start at once.
func (s *nestedSchedule) runCalls(ctx context.Context, p *recursive, inner *realise.Store) {
	s.count(-1)
	defer s.count(1)
	var calls sync.WaitGroup
	for _, call := range p.calls {
		calls.Go(func() {
			if _, err := buildNested(ctx, inner, call); err != nil && ctx.Err() == nil && !errors.Is(err, errHungUp) {
				s.t.Errorf("a call of %s: %v", p.path, err)
			}
		})
		if !p.parallel {
			calls.Wait()
		}
	}
	calls.Wait()
}

// Builders and clients build the same derivations with one or two slots and a machine, and hang up at any moment. No call hangs or fails
// for the reason of another one, no derivation is built twice at the same time, no slot is lost or used twice, and no
// goroutine is left.
func TestNestedSchedules(t *testing.T) {
	count := 500
	if os.Getenv("PIX_LONG") != "" {
		count = 20000
	}
	for seed := range count {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 23))
			s := newNestedSchedule(t, r)
			realiser := realise.New(s.store, &realise.Options{
				Slots: s.slots,
				Settings: func(ctx context.Context, _ store.Store) (*realise.Settings, error) {
					return ctx.Value(settingsKey{}).(*realise.Settings), nil
				},
				OpenMachine: func(context.Context, *nixconf.Machine) (store.Store, error) { return &fakeMachine{Store: s.far}, nil },
			})
			var calls sync.WaitGroup
			for _, call := range s.calls {
				calls.Go(func() { call(realiser) })
			}
			calls.Wait()
			synctest.Wait()
			if err := realiser.Close(); err != nil {
				t.Error(err)
			}
			if used := s.slots.Used(); used != 0 {
				t.Errorf("%d slots are lost", used)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A builder hangs up and ends, and the build that it has begun goes on for a client, with the slot of the builder. Another build
// gets that slot only afterwards.
func TestLentSlotOutlivesLender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nestedSchedule{t: t, store: memstore.New(nil), slots: realise.NewSlots(1), byPath: make(map[storepath.Path]*recursive)}
		w := &world{t: t}
		add := func(name string, p *recursive) *recursive {
			p.path = w.deriveIn(s.store, name)
			s.byPath[p.path] = p
			return p
		}
		inner := add("inner", &recursive{duration: 10 * step})
		outer := add("outer", &recursive{calls: []nestedCall{{[]*recursive{inner}, 2 * step}}})
		last := add("last", &recursive{started: func() {
			if inner.running {
				t.Error("two builds have one slot")
			}
		}})
		realiser := realise.New(s.store, &realise.Options{Slots: s.slots, Settings: func(context.Context, store.Store) (*realise.Settings, error) {
			serve := func(context.Context, net.Listener, store.Store) error { return nil }
			return &realise.Settings{MaxJobs: 1, Executor: s, Serve: serve}, nil
		}})
		var calls sync.WaitGroup
		for i, p := range []*recursive{outer, inner, last} {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * step)
				if _, err := buildNested(t.Context(), realiser, nestedCall{[]*recursive{p}, 0}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if used := s.slots.Used(); used != 0 {
			t.Errorf("%d slots are lost", used)
		}
	})
}
