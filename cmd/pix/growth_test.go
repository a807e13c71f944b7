package main

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// smallObjects returns n files. Each refers to two earlier ones, and the last to the files that no other refers to.
func smallObjects(n int) iter.Seq2[store.Import, error] {
	path := func(i int) storepath.Path {
		return storepath.Path(fmt.Sprintf("/nix/store/%032d-object-%d.0", i, i))
	}
	return func(yield func(store.Import, error) bool) {
		for i := range n {
			archive, info, err := fileArchive(fmt.Sprint(i))
			info.Path = path(i)
			if i > 0 {
				info.References = append(info.References, path((i-1)/2))
			}
			if i == n-1 {
				info.References = info.References[:0]
				for j := (n - 1) / 2; j < i; j++ {
					info.References = append(info.References, path(j))
				}
			}
			if !yield(store.Import{Info: info, NAR: archive}, err) {
				return
			}
		}
	}
}

// A growthMeasure is what a verb takes.
type growthMeasure struct {
	bytes, allocations uint64
	time               time.Duration
}

// The bytes and allocations of verbs grow in proportion to the paths of a store: ten times as many paths may take at
// most twelve times as much, and each additional path a fixed number of bytes. The counts include garbage, and do not
// depend on the speed of the machine. With PIX_LONG=1 the stores have up to 100,000 paths, and the time is checked, too.
func TestGrowth(t *testing.T) {
	sizes, long := []int{500, 5000}, os.Getenv("PIX_LONG") == "1"
	if long {
		sizes = []int{1000, 10_000, 100_000}
	}
	verbs := []struct {
		args  string // ROOT stands for a path with the closure of all
		input bool   // the paths are on standard input
		bytes uint64 // for each path: twice the measured number, in which garbage is counted
	}{
		{"valid-paths", false, 300},
		{"valid-paths --json", false, 300},
		{"is-valid --stdin", true, 1000},
		{"is-valid --stdin --json", true, 2500},
		{"path-info --stdin --json", true, 3500},
		{"path-info --json -r ROOT", false, 3500},
		{"closure ROOT", false, 1800},
		// A collection also reads the files of all processes of the machine, so these limits are ten times as high.
		{"gc --dry-run", false, 6000},
		{"gc --dry-run --json", false, 8000},
	}
	old := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(old) }) // verbs change it
	last := make([]growthMeasure, len(verbs))
	for _, n := range sizes {
		dir, root, input := growthStore(t, n)
		for i, v := range verbs {
			var stdin io.Reader = strings.NewReader("")
			if v.input {
				stdin = bytes.NewReader(input)
			}
			got := measureVerb(t, dir, strings.Fields(strings.ReplaceAll(v.args, "ROOT", root)), stdin)
			t.Logf("%s, %d paths: %d bytes and %.1f allocations a path, %v", v.args, n, got.bytes/uint64(n), float64(got.allocations)/float64(n), got.time.Round(time.Millisecond))
			if n > sizes[0] {
				checkGrowth(t, v.args, last[i], got, v.bytes*uint64(n-n/10), long)
			}
			last[i] = got
		}
	}
}

// checkGrowth checks what a verb takes for ten times as many paths as before. bytes is the limit of additional bytes.
func checkGrowth(t *testing.T, verb string, before, got growthMeasure, bytes uint64, timed bool) {
	t.Helper()
	if got.bytes > before.bytes+bytes {
		t.Errorf("%s allocates %d additional bytes, more than %d", verb, got.bytes-before.bytes, bytes)
	}
	if got.bytes > 12*before.bytes || got.allocations > 12*before.allocations {
		t.Errorf("%s takes %d bytes and %d allocations instead of %d and %d", verb, got.bytes, got.allocations, before.bytes, before.allocations)
	}
	if timed && got.time > 12*before.time+time.Second {
		t.Errorf("%s takes %v instead of %v", verb, got.time, before.time)
	}
}

// growthStore creates a store with n paths, and returns its directory, a path with the closure of all, and the lines with
// all paths.
func growthStore(t *testing.T, n int) (dir, root string, lines []byte) {
	t.Helper()
	dir = t.TempDir()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.AddMultipleToStore(t.Context(), n, smallObjects(n), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for p, err := range store.ListValidPaths(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, p)
		root = string(p)
	}
	if count := bytes.Count(b.Bytes(), []byte("\n")); count != n {
		t.Fatalf("%d paths are valid, want %d", count, n)
	}
	return dir, root, b.Bytes()
}

// measureVerb runs a verb in this process.
func measureVerb(t *testing.T, dir string, args []string, stdin io.Reader) growthMeasure {
	t.Helper()
	var before, after runtime.MemStats
	var stderr bytes.Buffer
	home := t.TempDir()
	getenv := func(name string) string {
		return map[string]string{"HOME": home, "XDG_CONFIG_HOME": home, "NIX_CONF_DIR": filepath.Join(home, "conf")}[name]
	}
	runtime.ReadMemStats(&before)
	start := time.Now()
	code := run(append([]string{"--store", dir}, args...), stdin, io.Discard, &stderr, getenv)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if code != 0 {
		t.Fatalf("%v exits with %d: %s", args, code, stderr.Bytes())
	}
	return growthMeasure{after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs, took}
}
