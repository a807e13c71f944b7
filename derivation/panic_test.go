package derivation_test

import (
	"context"
	"fmt"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/storepath"
)

// If a loader panics or ends its goroutine, the caller panics or ends, and no goroutine is left.
func TestLoaderPanics(t *testing.T) {
	testenv.NoLeak(t)
	for _, goexit := range []bool{false, true} {
		l := derivation.LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
			if path != p("bad.drv") {
				return graphOf(map[string][]string{"a": {"b", "bad", "c"}, "b": nil, "c": nil}).LoadDerivation(ctx, path)
			}
			testenv.Fault(goexit)
			return "", nil
		})
		testenv.CheckFault(t, goexit, func() {
			derivation.LoadClosure(t.Context(), l, []storepath.Path{p("a.drv")}, &derivation.ClosureOptions{Concurrency: 3})
		})
	}
}

// The progress callback panics.
func TestProgressPanics(t *testing.T) {
	testenv.NoLeak(t)
	s := drvStore{t, t.TempDir()}
	var files []string
	for i := range 200 {
		files = append(files, s.add(drv(t, fmt.Sprint("d", i), deferredOutput)).Base())
	}
	for _, goexit := range []bool{false, true} {
		testenv.CheckFault(t, goexit, func() {
			derivation.Verify(t.Context(), derivation.Directory(s.dir), files, &derivation.VerifyOptions{Progress: func(int, int) {
				testenv.Fault(goexit)
			}})
		})
	}
}
