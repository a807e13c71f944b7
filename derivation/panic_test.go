package derivation_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"pix/derivation"
	"pix/internal/parallel"
	"pix/internal/testenv"
	"pix/storepath"
)

// A loader that panics, or ends the goroutine, does so to the caller, and leaves nothing behind.
func TestLoaderPanics(t *testing.T) {
	testenv.NoLeak(t)
	for _, goexit := range []bool{false, true} {
		l := derivation.LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
			switch {
			case path != p("bad.drv"):
				return graphOf(map[string][]string{"a": {"b", "bad", "c"}, "b": nil, "c": nil}).LoadDerivation(ctx, path)
			case goexit:
				runtime.Goexit()
			}
			panic("no")
		})
		checkEnded(t, goexit, func() {
			derivation.LoadClosure(t.Context(), l, []storepath.Path{p("a.drv")}, &derivation.ClosureOptions{Concurrency: 3})
		})
	}
}

// checkEnded checks that f panics with "no", or with goexit that it ends its goroutine.
func checkEnded(t *testing.T, goexit bool, f func()) {
	t.Helper()
	var panicked any
	returned := false
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
		returned = true
	}()
	<-done
	p, _ := panicked.(*parallel.PanicError)
	if returned || goexit != (p == nil) || p != nil && p.Value != "no" {
		t.Errorf("goexit %t: it returned: %t; it panicked with %v", goexit, returned, panicked)
	}
}

// The same holds for the progress callback.
func TestProgressPanics(t *testing.T) {
	testenv.NoLeak(t)
	s := drvStore{t, t.TempDir()}
	var files []string
	for i := range 200 {
		files = append(files, s.add(drv(t, fmt.Sprint("d", i), deferredOutput)).Base())
	}
	for _, goexit := range []bool{false, true} {
		checkEnded(t, goexit, func() {
			derivation.Verify(t.Context(), derivation.Directory(s.dir), files, &derivation.VerifyOptions{Progress: func(int, int) {
				if goexit {
					runtime.Goexit()
				}
				panic("no")
			}})
		})
	}
}
