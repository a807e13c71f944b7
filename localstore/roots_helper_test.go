package localstore

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"pix/activity"
	"pix/localstore/internal/temproots"
	"pix/storepath"
)

// somePath returns a store path that differs for each n.
func somePath(t testing.TB, n int) storepath.Path {
	t.Helper()
	const digits = "0123456789abcdfghijklmnpqrsvwxyz"
	hash := bytes.Repeat([]byte("0"), 32)
	for i := 31; n > 0; i-- {
		hash[i] = digits[n%32]
		n /= 32
	}
	p, err := storepath.DefaultDir.ParseBase(string(hash) + "-test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rootLayout(t testing.TB, root string) layout {
	t.Helper()
	l, err := newLayout(&Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newTempRoots(t testing.TB, l layout) *temproots.Roots {
	t.Helper()
	r := temproots.Open(l.rootsState())
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func addRoots(t testing.TB, r *temproots.Roots, paths ...storepath.Path) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := r.Add(ctx, paths...); err != nil {
		t.Fatal(err)
	}
}

// beginCollection does the steps of a collector before it reads roots. The collection ends with end, or with the test.
func beginCollection(t testing.TB, l layout) (c *temproots.Collector, end func()) {
	t.Helper()
	c, err := temproots.NewCollector(t.Context(), l.rootsState(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return c, end
}

// rootsFiles returns the files of temporary roots.
func rootsFiles(t testing.TB, l layout) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.tempRoots(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withLog returns a context that calls f with each line that is logged.
func withLog(t testing.TB, f func(line string)) context.Context {
	return activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if log, ok := e.(activity.Log); ok {
			f(log.Text)
		}
	}))
}
