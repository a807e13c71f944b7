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
	"syscall"
	"testing"
	"time"

	"pix/internal/testenv"
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

// readsArchives is the limit of bytes for a path above which a verb reads archives.
const readsArchives = 10_000

// A growthMeasure is what a verb takes.
type growthMeasure struct {
	bytes, allocations uint64
	time               time.Duration // of processors
}

// The bytes and allocations of verbs grow in proportion to the paths of a store: ten times as many paths may take at
// most twelve times as much, and each additional path a fixed number of bytes. The counts include garbage, and do not
// depend on the speed of the machine. With PIX_LONG=1 the stores have up to 100,000 paths, and the time of processors is
// checked, too. The elapsed time would depend on what else runs.
func TestGrowth(t *testing.T) {
	sizes, long := []int{500, 5000}, os.Getenv("PIX_LONG") == "1"
	if long {
		sizes = []int{1000, 10_000, 100_000}
	}
	verbs := []struct {
		args  string // ROOT stands for a path with the closure of all, LEAF for one in it, and NEW for a new directory
		input bool   // the paths are on standard input; for load-db their registrations
		bytes uint64 // for each path: twice the measured number, in which garbage is counted
	}{
		{"valid-paths", false, 300},
		{"valid-paths --json", false, 300},
		{"is-valid --stdin", true, 1000},
		{"is-valid --stdin --json", true, 2500},
		{"path-info --stdin --json", true, 3500},
		{"path-info --json --all", false, 2500},
		{"path-info --json -r ROOT", false, 2500},
		{"path-info --json -r -S ROOT", false, 7500},
		{"path-info -r ROOT", false, 5500},
		{"path-info -r --table ROOT", false, 8000},
		{"closure ROOT", false, 1000},
		{"closure --json ROOT", false, 1000},
		{"referrers --closure LEAF", false, 2200},
		{"why-depends ROOT LEAF", false, 3500},
		{"tree ROOT", false, 3000},
		{"tree --reverse LEAF", false, 4500},
		{"graph ROOT", false, 3000},
		{"graph --json ROOT", false, 6500},
		{"diff ROOT LEAF", false, 3200},
		// Roots are also searched in the files of all processes.
		{"roots", false, 6000},
		{"roots ROOT", false, 6000},
		{"dump-db", false, 2600},
		{"load-db", true, 7000},
		{"verify --all --no-trust", false, 24000},
		{"verify -r --no-trust ROOT", false, 25000},
		{"verify-store", false, 1100},
		{"verify-store --check-contents", false, 18000},
		{"optimise", false, 18000},
		{"export --closure ROOT", false, 30000},
		{"copy --no-check-sigs --to NEW ROOT", false, 60000},
		{"copy --no-check-sigs --to file://NEW?compression=none ROOT", false, 180000},
		// A collection also reads the files of all processes of the machine, so these limits are ten times as high.
		{"gc --dry-run", false, 6000},
		{"gc --dry-run --json", false, 8000},
	}
	old := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(old) }) // verbs change it
	last := make([]growthMeasure, len(verbs))
	for _, n := range sizes {
		dir, root, input := growthStore(t, n)
		leaf, _, _ := strings.Cut(string(input), "\n")
		registrations := dumpDB(t, dir)
		for i, v := range verbs {
			if v.bytes > readsArchives && testenv.RaceEnabled {
				continue // the race detector drops some of the buffers that are used again
			}
			var stdin io.Reader = strings.NewReader("")
			switch {
			case v.args == "load-db":
				stdin = bytes.NewReader(registrations)
			case v.input:
				stdin = bytes.NewReader(input)
			}
			args := strings.NewReplacer("ROOT", root, "LEAF", leaf, "NEW", filepath.Join(t.TempDir(), "new")).Replace(v.args)
			got := measureVerb(t, dir, strings.Fields(args), stdin)
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

// dumpDB returns the registrations of a store.
func dumpDB(t *testing.T, dir string) []byte {
	t.Helper()
	var out, stderr bytes.Buffer
	if code := run([]string{"--store", dir, "dump-db"}, nil, &out, &stderr, growthEnv(t)); code != 0 {
		t.Fatalf("dump-db exits with %d: %s", code, stderr.Bytes())
	}
	return out.Bytes()
}

// growthEnv returns an environment with empty directories of settings.
func growthEnv(t *testing.T) func(string) string {
	home := t.TempDir()
	return func(name string) string {
		return map[string]string{"HOME": home, "XDG_CONFIG_HOME": home, "NIX_CONF_DIR": filepath.Join(home, "conf")}[name]
	}
}

// measureVerb runs a verb in this process.
func measureVerb(t *testing.T, dir string, args []string, stdin io.Reader) growthMeasure {
	t.Helper()
	var before, after runtime.MemStats
	var stderr bytes.Buffer
	getenv := growthEnv(t)
	runtime.ReadMemStats(&before)
	start := processorTime(t)
	code := run(append([]string{"--store", dir}, args...), stdin, io.Discard, &stderr, getenv)
	took := processorTime(t) - start
	runtime.ReadMemStats(&after)
	if code != 0 {
		t.Fatalf("%v exits with %d: %s", args, code, stderr.Bytes())
	}
	return growthMeasure{after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs, took}
}

// processorTime returns the user and system time of this process.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
