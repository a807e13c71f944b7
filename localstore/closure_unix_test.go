//go:build unix

package localstore

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"pix/closure"
	"pix/internal/testenv"
)

// A closure needs few bytes for each path. With PIX_LONG=1 it has a million paths, and the whole process must need
// less than a gigabyte and, since other tests run at the same time, 15 seconds of processor time.
func TestLoadMany(t *testing.T) {
	if !long() {
		root := t.TempDir()
		fillChain(t, open(t, Options{Root: root}), 2000)
		loadMany(t, root, 2000)
		return
	}
	const n = 1_000_000
	const inChild = "PIX_TEST_LOAD_MANY" // the store that the child process loads
	if os.Getenv(inChild) == "" {
		t.Setenv(inChild, t.TempDir())
		fillChain(t, open(t, Options{Root: os.Getenv(inChild)}), n)
	}
	testenv.MaxResident(t, 1<<30, func(t *testing.T) {
		took := loadMany(t, os.Getenv(inChild), n)
		if took > 15*time.Second {
			t.Errorf("%v of processor time", took)
		}
	})
}

// loadMany loads the closure of the n paths in a store, and returns the processor time of loading and answering.
func loadMany(t *testing.T, dir string, n int) time.Duration {
	s := open(t, Options{Root: dir})
	root := chainPath(n - 1)
	before := heapInUse()
	start, cpu := time.Now(), processorTime(t)
	load := func() (*closure.Closure, error) { return closure.Load(t.Context(), s, root) }
	if !long() {
		load = func() (*closure.Closure, error) { return closure.LoadAll(t.Context(), s) }
	}
	c, err := load()
	if err != nil || c.Len() != n {
		t.Fatalf("%d paths, %v", c.Len(), err)
	}
	loaded := time.Since(start)
	if size := c.ClosureSize(root); size != c.Size() {
		t.Errorf("the closure size is %d, want %d", size, c.Size())
	}
	if chain := c.Why(root, chainPath(0)); len(chain) < n/125 {
		t.Errorf("a chain of %d", len(chain))
	}
	if added, err := c.AddedSizes(t.Context(), root); err != nil || len(added) != n {
		t.Errorf("%d added sizes, %v", len(added), err)
	}
	took := processorTime(t) - cpu
	t.Logf("%d paths: loaded after %v, all answers after %v, %v of processor time", n, loaded, time.Since(start), took)
	perPath := (heapInUse() - before) / int64(n)
	t.Logf("%d bytes for each path", perPath)
	if perPath > 400 {
		t.Errorf("a closure needs %d bytes for each path, more than 400", perPath)
	}
	runtime.KeepAlive(c)
	return took
}

func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// processorTime returns the processor time of this process.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
