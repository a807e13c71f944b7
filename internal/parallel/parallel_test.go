package parallel_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/internal/parallel"
	"pix/internal/testenv"
)

func TestDo(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	for _, test := range []struct{ first, second, want error }{
		{nil, nil, nil}, {a, nil, a}, {nil, b, b}, {a, b, a},
	} {
		began := make(chan bool)
		err := parallel.Do(
			func() error { began <- true; return test.first },
			func() error { <-began; return test.second })
		if err != test.want {
			t.Errorf("%v and %v: %v", test.first, test.second, err)
		}
	}
}

// ended calls f on a separate goroutine, and returns the value of its panic. exited reports whether
// it called runtime.Goexit.
func ended(f func()) (value any, exited bool) {
	done := make(chan bool)
	go func() {
		defer close(done)
		exited = true
		defer func() { value = recover() }()
		f()
		exited = false
	}()
	<-done
	return value, exited && value == nil
}

func panics() error  { panic("no") }
func exits() error   { runtime.Goexit(); return nil }
func nothing() error { return nil }

func checkPanic(t *testing.T, value any) {
	t.Helper()
	p, ok := value.(*parallel.PanicError)
	if !ok || p.Value != "no" || !strings.HasPrefix(p.Error(), "panic: no\n") || !strings.Contains(string(p.Stack), "parallel_test.panics(") {
		t.Errorf("it panicked with %v", value)
	}
}

func TestDoPanics(t *testing.T) {
	value, _ := ended(func() { parallel.Do(nothing, panics) })
	if value != "no" {
		t.Errorf("it panicked with %v", value)
	}
	value, _ = ended(func() { parallel.Do(panics, nothing) })
	checkPanic(t, value)
	if _, exited := ended(func() { parallel.Do(exits, nothing) }); !exited {
		t.Error("a call of Goexit is lost")
	}
}

func TestGroup(t *testing.T) {
	testenv.NoLeak(t)
	broken := errors.New("broken")
	g, ctx := parallel.WithContext(t.Context(), 2)
	var most, busy atomic.Int32
	for range 10 {
		g.Go(func() error {
			if n := busy.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer busy.Add(-1)
			runtime.Gosched()
			return nil
		})
	}
	g.Go(func() error { return broken })
	g.Go(func() error { <-ctx.Done(); return context.Cause(ctx) })
	if err := g.Wait(); err != broken || most.Load() > 2 {
		t.Errorf("%v, %d at once", err, most.Load())
	}
	if context.Cause(ctx) != broken {
		t.Errorf("the context has ended with %v", context.Cause(ctx))
	}
}

// A function that panics or exits cancels the others, and Wait does the same as the function.
func TestGroupPanics(t *testing.T) {
	testenv.NoLeak(t)
	run := func(f func() error) func() {
		return func() {
			g, ctx := parallel.WithContext(t.Context(), 0)
			g.Go(func() error { <-ctx.Done(); return nil })
			g.Go(f)
			g.Wait()
		}
	}
	value, _ := ended(run(panics))
	checkPanic(t, value)
	value, _ = ended(run(func() error { run(panics)(); return nil })) // a group in a group
	checkPanic(t, value)
	if value, exited := ended(run(exits)); !exited {
		t.Errorf("a call of Goexit is lost: %v", value)
	}
	failure := errors.New("an error")
	value, _ = ended(run(func() error { panic(failure) }))
	if err, ok := value.(error); !ok || !errors.Is(err, failure) {
		t.Errorf("it panicked with %v", value)
	}
}

// End waits for running calls, and no call begins after it.
func TestGuardEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g parallel.Guard
		release := make(chan bool)
		ran := false
		var calls sync.WaitGroup
		calls.Go(func() {
			g.Call(func() error {
				return g.Call(func() error { <-release; ran = true; return nil })
			})
		})
		synctest.Wait()
		time.AfterFunc(time.Second, func() { close(release) })
		begin := time.Now()
		g.End()
		if !ran || time.Since(begin) != time.Second {
			t.Errorf("it waited for %v", time.Since(begin))
		}
		if err := g.Call(func() error { t.Error("it runs after the end"); return nil }); err != parallel.ErrEnded {
			t.Errorf("%v", err)
		}
		g.End()
		g.Repanic()
		calls.Wait()
	})
}

// Only the first panic is raised again, and Stop is called once.
func TestGuardStop(t *testing.T) {
	var stopped []error
	g := parallel.Guard{Stop: func(err error) { stopped = append(stopped, err) }}
	if err := g.Call(nothing); err != nil || stopped != nil {
		t.Errorf("%v, %v", err, stopped)
	}
	err := g.Call(panics)
	g.Call(func() error { panic("later") })
	if len(stopped) != 1 || stopped[0] != err {
		t.Errorf("it was stopped with %v", stopped)
	}
	value, _ := ended(g.Repanic)
	checkPanic(t, value)
}
