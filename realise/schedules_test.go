package realise_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/realise"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// step is how often a fake builder of a schedule writes and looks at its context.
const step = 10 * time.Millisecond

// lineSize is how much each line adds to its log, in bytes.
const lineSize = 10

// A planned is a derivation of a schedule.
type planned struct {
	name      string
	path      storepath.Path
	inputs    []*planned
	duration  time.Duration
	silent    bool // writes nothing
	broken    bool // fails each time
	transient int  // how many attempts fail for a reason of their own

	attempts, failures, cancelled, succeeded int
	running                                  bool
}

// logSize returns the size of the log of a build that ends.
func (p *planned) logSize() uint64 {
	if p.silent {
		return 0
	}
	return uint64(p.duration/step) * lineSize
}

// A client is one call of a schedule.
type client struct {
	index    int
	wants    []*planned
	start    time.Duration
	hangUp   time.Duration // after the start; 0 is never
	settings realise.Settings

	results []store.KeyedBuildResult
	err     error
	took    time.Duration

	mu      sync.Mutex
	running map[activity.ID]string
	seen    map[string]bool // derivations whose builds began for this call
	ended   bool
	t       *testing.T
}

// A schedule is a store, derivations and the calls that build them.
type schedule struct {
	t       *testing.T
	store   *memstore.Store
	drvs    []*planned
	byPath  map[storepath.Path]*planned
	clients []*client

	mu sync.Mutex
}

type clientOf struct{}

func newSchedule(t *testing.T, r *rand.Rand) *schedule {
	s := &schedule{t: t, store: memstore.New(nil), byPath: make(map[storepath.Path]*planned)}
	w := &world{t: t}
	for i := range 1 + r.IntN(5) {
		p := &planned{name: fmt.Sprint("d", i), duration: step * time.Duration(1+r.IntN(12)), silent: r.IntN(4) == 0, broken: r.IntN(6) == 0}
		if !p.broken {
			p.transient = max(0, r.IntN(8)-5)
		}
		var inputs []storepath.Path
		for _, other := range s.drvs {
			if r.IntN(3) == 0 {
				p.inputs = append(p.inputs, other)
				inputs = append(inputs, other.path)
			}
		}
		p.path = w.deriveIn(s.store, p.name, inputs...)
		s.drvs = append(s.drvs, p)
		s.byPath[p.path] = p
	}
	for i := range 1 + r.IntN(4) {
		c := &client{index: i, t: t, start: step / 2 * time.Duration(r.IntN(12)), running: make(map[activity.ID]string), seen: make(map[string]bool)}
		for _, p := range s.drvs {
			if r.IntN(2) == 0 {
				c.wants = append(c.wants, p)
			}
		}
		if r.IntN(4) == 0 {
			c.hangUp = step * time.Duration(1+r.IntN(20))
		}
		limit := func(most int) int { return max(0, r.IntN(4*most)-3*most) }
		c.settings = realise.Settings{
			MaxJobs: 1 + r.IntN(3), KeepGoing: r.IntN(2) == 0, Client: fmt.Sprint(r.IntN(3)), BuildKey: fmt.Sprint(r.IntN(5) / 4), Executor: s,
			Limits: builder.Limits{
				Timeout: step * time.Duration(limit(14)), MaxSilentTime: step * time.Duration(limit(14)), MaxLogSize: lineSize * uint64(limit(14)),
			},
		}
		s.clients = append(s.clients, c)
	}
	return s
}

// Build is the executor of a schedule.
func (s *schedule) Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
	p := s.byPath[req.Path]
	s.mu.Lock()
	if p.running {
		s.t.Errorf("%s is built twice at the same time", p.name)
	}
	p.running = true
	p.attempts++
	attempt := p.attempts
	s.mu.Unlock()
	result, err := s.attempt(ctx, p, attempt, req)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.running = false
	switch {
	case err != nil && err == context.Cause(ctx):
		p.cancelled++
	case err != nil || result.Status == store.TransientFailure:
		p.failures++
	case result.Status == store.Built:
		p.succeeded++
	}
	return result, err
}

func (s *schedule) attempt(ctx context.Context, p *planned, attempt int, req *builder.Request) (*store.BuildResult, error) {
	outputs := make(map[string]store.Realisation)
	for name, o := range req.Derivation.Outputs.All() {
		outputs[name] = store.Realisation{OutPath: o.Path()}
	}
	if valid, err := s.store.IsValidPath(ctx, outputs["out"].OutPath); err != nil || valid {
		return &store.BuildResult{Status: store.AlreadyValid, Outputs: outputs}, err
	}
	if attempt <= p.transient && attempt%2 == 0 {
		return nil, errors.New("the executor of " + p.name + " is out of order")
	}
	if err := s.work(ctx, p, req.Watcher); err != nil {
		return nil, err
	}
	switch {
	case attempt <= p.transient:
		return &store.BuildResult{Status: store.TransientFailure, Message: p.name + " was lost"}, nil
	case p.broken:
		return &store.BuildResult{Status: store.PermanentFailure, Message: p.name + " is broken"}, nil
	}
	for name, out := range outputs {
		addObject(s.t, s.store, out.OutPath, p.name+" "+name)
	}
	return &store.BuildResult{Status: store.Built, Outputs: outputs}, nil
}

// work runs the builder of a derivation.
func (s *schedule) work(ctx context.Context, p *planned, watcher builder.Watcher) error {
	h := activity.HandlerOf(ctx)
	id := activity.NewID()
	h.HandleEvent(activity.Start{ID: id, Type: activity.Build, Text: p.name})
	defer h.HandleEvent(activity.Stop{ID: id})
	watcher.Started()
	defer watcher.Ended()
	for size := uint64(0); size < uint64(p.duration/step)*lineSize; size += lineSize {
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if p.silent {
			continue
		}
		if err := watcher.Wrote(size + lineSize); err != nil {
			return err
		}
		h.HandleEvent(activity.Result{ID: id, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("x")}})
	}
	return nil
}

// HandleEvent checks the events of a call.
func (c *client) HandleEvent(e activity.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.t.Errorf("client %d gets %v after its call has returned", c.index, e)
	}
	switch e := e.(type) {
	case activity.Start:
		c.running[e.ID] = e.Text
		c.seen[e.Text] = true
	case activity.Stop:
		if _, ok := c.running[e.ID]; !ok {
			c.t.Errorf("client %d gets the end of an unknown activity", c.index)
		}
		delete(c.running, e.ID)
	case activity.Result:
		if _, ok := c.running[e.ID]; !ok {
			c.t.Errorf("client %d gets a result of an unknown activity", c.index)
		}
	}
}

// run runs all calls.
func (s *schedule) run(r *rand.Rand) {
	realiser := realise.New(s.store, &realise.Options{Slots: realise.NewSlots(1 + r.IntN(3)), Settings: func(ctx context.Context, _ store.Store) (*realise.Settings, error) {
		settings := ctx.Value(clientOf{}).(*client).settings
		return &settings, nil
	}})
	var calls sync.WaitGroup
	for _, c := range s.clients {
		calls.Go(func() {
			time.Sleep(c.start)
			ctx, cancel := context.WithCancel(activity.WithHandler(context.WithValue(s.t.Context(), clientOf{}, c), c))
			defer cancel()
			if c.hangUp > 0 {
				defer time.AfterFunc(c.hangUp, cancel).Stop()
			}
			var paths []derivation.DerivedPath
			for _, p := range c.wants {
				paths = append(paths, out(p.path))
			}
			begin := time.Now()
			c.results, c.err = realiser.BuildPathsWithResults(ctx, paths, store.BuildNormal)
			c.took = time.Since(begin)
			c.mu.Lock()
			c.ended = true
			c.mu.Unlock()
		})
	}
	calls.Wait()
}

// check checks the results of a schedule.
func (s *schedule) check() {
	mayEnd, lost := 0, 0 // claims that a client may have ended, failures of attempts that a client got
	for _, c := range s.clients {
		lost += c.check()
		if c.hangUp > 0 || c.settings.Limits != (builder.Limits{}) || !c.settings.KeepGoing || c.err != nil {
			mayEnd++
		}
	}
	failures := 0
	for _, p := range s.drvs {
		failures += p.failures
		if p.succeeded > 1 {
			s.t.Errorf("%s was built %d times", p.name, p.succeeded)
		}
		if p.cancelled > mayEnd {
			s.t.Errorf("%d builds of %s were cancelled, but only %d clients may have done that", p.cancelled, p.name, mayEnd)
		}
		if p.broken && p.attempts-p.cancelled > len(s.clients) {
			s.t.Errorf("%d clients have built %s, which always fails, %d times", len(s.clients), p.name, p.attempts-p.cancelled)
		}
	}
	if lost > failures {
		s.t.Errorf("%d attempts have failed, but the clients got %d failures", failures, lost)
	}
}

// check checks that no result of a call has a reason that belongs to another client. It returns how many failures of attempts
// the call got.
func (c *client) check() (lost int) {
	if len(c.running) > 0 {
		c.t.Errorf("client %d: the activities %v have not ended", c.index, c.running)
	}
	switch {
	case c.err == nil:
	case strings.Contains(c.err.Error(), "is out of order"):
		return 1
	case c.hangUp == 0 || !errors.Is(c.err, context.Canceled):
		c.t.Errorf("client %d: %v", c.index, c.err)
	case c.took > c.hangUp+2*step:
		c.t.Errorf("client %d hung up after %v, and the call returned after %v", c.index, c.hangUp, c.took)
	}
	failed := false
	for i, r := range c.results {
		p := c.planned(r.Path)
		limits := c.settings.Limits
		ok := true
		switch r.Status {
		case store.Built, store.AlreadyValid:
			ok = !p.broken
		case store.PermanentFailure:
			ok = p.broken
		case store.TransientFailure:
			ok = p.transient > 0
			lost++
		case store.TimedOut:
			ok = limits.Timeout > 0 && limits.Timeout <= p.duration || limits.MaxSilentTime > 0 && (limits.MaxSilentTime <= step || p.silent && limits.MaxSilentTime <= p.duration)
		case store.LogLimitExceeded:
			ok = limits.MaxLogSize > 0 && limits.MaxLogSize < p.logSize()
		case store.DependencyFailed:
			ok = len(p.inputs) > 0
		default:
			ok = false
		}
		failed = failed || !r.Status.Succeeded()
		if !ok {
			c.t.Errorf("client %d, result %d: %s: %v %s; its limits are %+v", c.index, i, p.name, r.Status, r.Message, limits)
		}
	}
	if c.err == nil && !failed && len(c.results) != len(c.wants) {
		c.t.Errorf("client %d gets %d results for %d paths, and no failure", c.index, len(c.results), len(c.wants))
	}
	return lost
}

func (c *client) planned(path derivation.DerivedPath) *planned {
	for _, p := range c.wants {
		if p.path == path.Base() {
			return p
		}
	}
	c.t.Errorf("client %d gets a result for %s", c.index, path)
	return &planned{}
}

// Calls with different limits, hang-ups and settings build the same derivations. No call fails for the reason of another
// one, none hangs, and no derivation is built more often than necessary.
func TestRandomSchedules(t *testing.T) {
	count := 400
	if os.Getenv("PIX_LONG") != "" {
		count = 1000
	}
	for seed := range count {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 17))
			s := newSchedule(t, r)
			s.run(r)
			s.check()
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
