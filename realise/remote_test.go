package realise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/nixconf"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A network is a world with other machines, which build as the executor of the world does.
type network struct {
	*world
	remote realise.Remote
	limits builder.Limits
	opens  sync.Map // of *atomic.Int32, by URI

	machines map[string]*fakeMachine
}

// A fakeMachine is a machine with a store in memory. The functions replace its methods if they are set.
type fakeMachine struct {
	*memstore.Store
	now, most, builds atomic.Int32

	open  func(ctx context.Context) error
	build func(ctx context.Context, path storepath.Path, d *derivation.Derivation) (*store.BuildResult, error)
	info  func(info *store.PathInfo) (*store.PathInfo, error)
	nar   func(ctx context.Context, archive []byte) (io.ReadCloser, error)
}

func newNetwork(t *testing.T, builders string) *network {
	t.Helper()
	n := &network{world: newWorld(t), machines: make(map[string]*fakeMachine)}
	n.jobs = 0
	var err error
	if n.remote.Machines, err = nixconf.ParseMachines(builders, "x86_64-linux"); err != nil {
		t.Fatal(err)
	}
	for _, m := range n.remote.Machines {
		f := &fakeMachine{}
		f.Store = memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
			f.builds.Add(1)
			now := f.now.Add(1)
			defer f.now.Add(-1)
			f.most.Store(max(f.most.Load(), now))
			if n.build != nil {
				if r := n.build(ctx, d.Name); r != nil {
					return errors.New(r.Message)
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			for name, o := range d.Outputs.All() {
				addObject(t, s, o.Path(), d.Name+" "+name)
			}
			return nil
		}})
		n.machines[m.Store] = f
	}
	return n
}

// store returns the store that builds on the machines.
func (n *network) store() *realise.Store { return n.storeOver(n.local) }

// storeOver is store over another store.
func (n *network) storeOver(local store.Store) *realise.Store {
	s := realise.New(local, &realise.Options{
		Slots: n.slots,
		Settings: func(ctx context.Context, s store.Store) (*realise.Settings, error) {
			return &realise.Settings{MaxJobs: n.jobs, KeepGoing: n.keep, Executor: &capableExecutor{executor{n.world, s}}, Remote: &n.remote, Limits: n.limits, AfterBuild: n.after}, nil
		},
		OpenMachine: func(ctx context.Context, m *nixconf.Machine) (store.Store, error) {
			count, _ := n.opens.LoadOrStore(m.Store, new(atomic.Int32))
			count.(*atomic.Int32).Add(1)
			f := n.machines[m.Store]
			if f.open != nil {
				if err := f.open(ctx); err != nil {
					return nil, err
				}
			}
			return f, nil
		},
	})
	return s
}

// A capableExecutor builds everything whose name does not begin with "far".
type capableExecutor struct{ executor }

func (e *capableExecutor) Rejection(req *builder.Request) (string, error) {
	if strings.HasPrefix(req.Path.Name(), "far") {
		return "\nReason: it is far", nil
	}
	return "", nil
}

func (f *fakeMachine) Close() error { return nil }

func (f *fakeMachine) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	if f.build != nil {
		if r, err := f.build(ctx, path, d); r != nil || err != nil {
			return r, err
		}
	}
	return f.Store.BuildDerivation(ctx, path, d, mode)
}

func (f *fakeMachine) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	info, err := f.Store.QueryPathInfo(ctx, path)
	if err == nil && f.info != nil {
		own := *info
		own.Ultimate = true
		return f.info(&own)
	}
	return info, err
}

func (f *fakeMachine) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	r, err := f.Store.NARFromPath(ctx, path)
	if err != nil || f.nar == nil {
		return r, err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return f.nar(ctx, text)
}

// With max-jobs = 0 everything is built elsewhere. Inputs are copied to the machine and outputs back, and are neither ultimate
// nor signed.
func TestRemoteBuilds(t *testing.T) {
	n := newNetwork(t, "ssh-ng://a - - 2")
	low := n.derive("low")
	left, right := n.derive("left", low), n.derive("right", low)
	top := n.derive("top", left, right)
	n.machines["ssh-ng://a"].info = func(info *store.PathInfo) (*store.PathInfo, error) { return info, nil }
	var mu sync.Mutex
	var hooked []string
	n.after = func(_ context.Context, drv storepath.Path, outputs []storepath.Path) error {
		mu.Lock()
		defer mu.Unlock()
		hooked = append(hooked, drv.Name())
		return nil
	}
	s := n.store()
	defer s.Close()
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err != nil || results[0].Status != store.Built {
		t.Fatalf("%+v, %v", results, err)
	}
	info, err := n.local.QueryPathInfo(t.Context(), results[0].Outputs["out"].OutPath)
	if err != nil || info.Ultimate || len(info.Signatures) > 0 || info.Deriver != top {
		t.Errorf("%+v, %v", info, err)
	}
	if len(n.built) != 0 || n.machines["ssh-ng://a"].builds.Load() != 4 || len(hooked) != 4 {
		t.Errorf("built here: %q, there: %d, hooks: %q", n.built, n.machines["ssh-ng://a"].builds.Load(), hooked)
	}
	if opens, _ := n.opens.Load("ssh-ng://a"); opens.(*atomic.Int32).Load() != 1 {
		t.Error("the machine was opened more than once")
	}
}

// Builds go to the machines that are free, up to their max-jobs, and to this machine when they are busy.
func TestRemoteLoad(t *testing.T) {
	n := newNetwork(t, "ssh-ng://a - - 2; ssh-ng://b - - 1 2; ssh-ng://c riscv64-linux - 9; ssh-ng://d - - 9 1 - gpu")
	n.jobs = 1
	n.build = func(ctx context.Context, name string) *store.BuildResult {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	var paths []derivation.DerivedPath
	for i := range 40 {
		paths = append(paths, out(n.derive(fmt.Sprint("d", i))))
	}
	s := n.store()
	defer s.Close()
	if err := s.BuildPaths(t.Context(), paths, store.BuildNormal); err != nil {
		t.Fatal(err)
	}
	a, b := n.machines["ssh-ng://a"], n.machines["ssh-ng://b"]
	if a.most.Load() > 2 || b.most.Load() > 1 || n.most.Load() > 1 || n.machines["ssh-ng://c"].builds.Load()+n.machines["ssh-ng://d"].builds.Load() > 0 {
		t.Errorf("at once: %d, %d, %d", a.most.Load(), b.most.Load(), n.most.Load())
	}
	if sum := int(a.builds.Load()) + int(b.builds.Load()) + len(n.built); sum != 40 || a.builds.Load() < 5 || b.builds.Load() < 3 || len(n.built) < 3 {
		t.Errorf("builds: %d on a, %d on b, %d here", a.builds.Load(), b.builds.Load(), len(n.built))
	}
}

// A machine that cannot be reached gets no builds for a while. Others go on, and at last this machine. Its error is logged.
func TestUnreachableMachines(t *testing.T) {
	n := newNetwork(t, "ssh-ng://down - - 9 9; ssh-ng://up - - 2")
	n.machines["ssh-ng://down"].open = func(context.Context) error { return errors.New("connection refused") }
	var errs []string
	var mu sync.Mutex
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, l.Text)
		}
	}))
	s := n.store()
	defer s.Close()
	for i := range 5 {
		if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(n.derive(fmt.Sprint("d", i)))}, store.BuildNormal); err != nil {
			t.Fatal(err)
		}
	}
	if opens, _ := n.opens.Load("ssh-ng://down"); opens.(*atomic.Int32).Load() != 1 {
		t.Error("a machine that is down was tried again at once")
	}
	if len(errs) != 1 || !strings.Contains(errs[0], "cannot build on 'ssh-ng://down': connection refused") {
		t.Errorf("logged %q", errs)
	}
	n.machines["ssh-ng://up"].build = func(context.Context, storepath.Path, *derivation.Derivation) (*store.BuildResult, error) {
		return nil, errors.New("connection lost")
	}
	lost := n.derive("lost")
	err := s.BuildPaths(ctx, []derivation.DerivedPath{out(lost)}, store.BuildNormal)
	if err == nil || !strings.Contains(err.Error(), "local builds are disabled") || !strings.Contains(strings.Join(errs, "\n"), "Failed to find a machine for remote build!\nderivation: "+lost.Base()) {
		t.Errorf("all machines are down: %v\n%q", err, errs)
	}
	n.jobs = 1
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(lost)}, store.BuildNormal); err != nil || !slices.Equal(n.built, []string{"lost"}) {
		t.Errorf("this machine builds: %v, %q", err, n.built)
	}
}

// No lie of a machine about the outputs makes a path valid.
func TestLyingMachine(t *testing.T) {
	foreign := storepath.Path("/nix/store/qzjhl0wfw62vnkl788ayqc1sjxngwacp-foreign")
	for name, lie := range map[string]func(f *fakeMachine){
		"other contents": func(f *fakeMachine) {
			f.nar = func(context.Context, []byte) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(dumpFile(t, "lie"))), nil
			}
		},
		"a short archive": func(f *fakeMachine) {
			f.nar = func(_ context.Context, text []byte) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(text[:len(text)/2])), nil
			}
		},
		"no archive": func(f *fakeMachine) {
			f.nar = func(context.Context, []byte) (io.ReadCloser, error) { return nil, errors.New("connection lost") }
		},
		"other hash": func(f *fakeMachine) {
			f.info = func(info *store.PathInfo) (*store.PathInfo, error) {
				info.NARHash = nixhash.Sum(nixhash.SHA256, []byte("lie"))
				return info, nil
			}
		},
		"foreign references": func(f *fakeMachine) {
			f.info = func(info *store.PathInfo) (*store.PathInfo, error) {
				info.References = []storepath.Path{foreign}
				return info, nil
			}
		},
		"references in a circle": func(f *fakeMachine) {
			var all []storepath.Path
			f.build = func(_ context.Context, _ storepath.Path, d *derivation.Derivation) (*store.BuildResult, error) {
				for _, o := range d.Outputs.All() {
					all = append(all, o.Path())
				}
				slices.Sort(all)
				return nil, nil
			}
			f.info = func(info *store.PathInfo) (*store.PathInfo, error) {
				info.References = all
				return info, nil
			}
		},
		"missing output": func(f *fakeMachine) {
			f.build = func(context.Context, storepath.Path, *derivation.Derivation) (*store.BuildResult, error) {
				return &store.BuildResult{Status: store.Built}, nil
			}
		},
		"failure": func(f *fakeMachine) {
			f.build = func(context.Context, storepath.Path, *derivation.Derivation) (*store.BuildResult, error) {
				return &store.BuildResult{Status: store.PermanentFailure, Message: "it is broken"}, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, "ssh-ng://liar")
			lie(n.machines["ssh-ng://liar"])
			drv := n.derive("x")
			s := n.store()
			defer s.Close()
			results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}, store.BuildNormal)
			if err != nil || results[0].Status != store.MiscFailure || !strings.HasPrefix(results[0].Message, "Cannot build '"+string(drv)+"'.\nReason: builder failed with exit code 1.\nOutput paths:\n  ") {
				t.Errorf("%+v, %v", results, err)
			}
			outputs, err := store.OutputMap(t.Context(), n.local, drv)
			if err != nil {
				t.Fatal(err)
			}
			valid := 0
			for _, path := range outputs {
				if ok, err := n.local.IsValidPath(t.Context(), path); err != nil || ok {
					valid++
				}
			}
			if valid > 0 {
				t.Errorf("%d outputs are valid", valid)
			}
		})
	}
}

// The contents of a fixed output have the hash of the derivation, whatever the machine says.
func TestLyingAboutFixedOutput(t *testing.T) {
	n := newNetwork(t, "ssh-ng://liar")
	d := &derivation.Derivation{Name: "fixed", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("true")))
	if err != nil {
		t.Fatal(err)
	}
	path, err := storepath.DefaultDir.FixedOutputPath("fixed", ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	o := derivation.FixedOutput(ca, path)
	d.Outputs.Set("out", o)
	d.Env.Set("out", string(o.Path()))
	drv, err := n.local.AddTextToStore(t.Context(), "fixed.drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := n.store()
	defer s.Close()
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal)
	if err != nil || results[0].Status.Succeeded() {
		t.Errorf("%+v, %v", results, err)
	}
	if valid, err := n.local.IsValidPath(t.Context(), o.Path()); err != nil || valid {
		t.Errorf("the output is valid: %v", err)
	}
}

// A machine that stalls is left at once by a cancelled call, and at the limits of the settings.
func TestStallingMachine(t *testing.T) {
	for name, stall := range map[string]func(f *fakeMachine){
		"connecting": func(f *fakeMachine) {
			f.open = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		},
		"building": func(f *fakeMachine) {
			f.build = func(ctx context.Context, _ storepath.Path, _ *derivation.Derivation) (*store.BuildResult, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
		},
		"copying": func(f *fakeMachine) {
			f.nar = func(ctx context.Context, _ []byte) (io.ReadCloser, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, "ssh-ng://slow")
			stall(n.machines["ssh-ng://slow"])
			s := n.store()
			defer s.Close()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("cancelled"))
			defer cancel()
			start := time.Now()
			err := s.BuildPaths(ctx, []derivation.DerivedPath{out(n.derive("x"))}, store.BuildNormal)
			if took := time.Since(start); err == nil || err.Error() != "cancelled" || took > time.Minute {
				t.Errorf("%v after %v", err, took)
			}
			if name == "connecting" {
				return
			}
			n.limits.MaxSilentTime = 100 * time.Millisecond
			results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(n.derive("x"))}, store.BuildNormal)
			if err != nil || results[0].Status != store.TimedOut {
				t.Errorf("%+v, %v", results, err)
			}
		})
	}
}

// Two calls build a derivation on a machine once.
func TestRemoteBuildIsShared(t *testing.T) {
	n := newNetwork(t, "ssh-ng://a - - 9")
	n.build = func(context.Context, string) *store.BuildResult { time.Sleep(50 * time.Millisecond); return nil }
	drv := n.derive("x")
	s := n.store()
	defer s.Close()
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if err := s.BuildPaths(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if builds := n.machines["ssh-ng://a"].builds.Load(); builds != 1 {
		t.Errorf("built %d times", builds)
	}
}

// The log of a build elsewhere is kept, and its lines belong to the activity of the build.
func TestRemoteLog(t *testing.T) {
	n := newNetwork(t, "ssh-ng://a")
	n.machines["ssh-ng://a"].build = func(ctx context.Context, _ storepath.Path, _ *derivation.Derivation) (*store.BuildResult, error) {
		h := activity.HandlerOf(ctx)
		h.HandleEvent(activity.Start{ID: 7, Type: activity.Build, Text: "building"})
		h.HandleEvent(activity.Result{ID: 7, Type: activity.SetPhase, Fields: []activity.Field{activity.Text("phase")}})
		for i := range 3 {
			h.HandleEvent(activity.Result{ID: 7, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(fmt.Sprint("line ", i))}})
		}
		h.HandleEvent(activity.Result{ID: 7, Type: activity.Progress, Fields: make([]activity.Field, 4)})
		h.HandleEvent(activity.Stop{ID: 7})
		return nil, nil
	}
	drv := n.derive("x")
	var events []string
	var id activity.ID
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		switch e := e.(type) {
		case activity.Start:
			if e.Type == activity.Build {
				id = e.ID
				events = append(events, e.Text)
			}
		case activity.Result:
			if e.ID == id {
				text, _ := e.Fields[0].Text()
				events = append(events, text)
			}
		case activity.Stop:
			if e.ID == id {
				events = append(events, "end")
			}
		}
	}))
	s := n.store()
	defer s.Close()
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(events, ";"), "building '"+string(drv)+"' on 'ssh-ng://a';phase;line 0;line 1;line 2;end"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	log, err := n.local.BuildLog(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if text, err := io.ReadAll(log); err != nil || string(text) != "line 0\nline 1\nline 2\n" {
		t.Errorf("%q, %v", text, err)
	}
	n.limits.MaxLogSize = 10
	results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{out(n.derive("y"))}, store.BuildNormal)
	if err != nil || results[0].Status != store.LogLimitExceeded {
		t.Errorf("%+v, %v", results, err)
	}
}
