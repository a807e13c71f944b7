//go:build unix

package binarycache_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/binarycache"
	"pix/storepath"
)

// A process that may open few files requests few narinfos at once. The test runs in a separate process,
// because the limit is one of the whole process.
func TestFewDescriptors(t *testing.T) {
	const child, limit = "BINARYCACHE_TEST_DESCRIPTORS", 96
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	f := newFake()
	var now, most atomic.Int64
	client := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		f.ServeHTTP(w, r)
	}))
	c, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, Parallel: 32}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var paths []storepath.Path
	for i := range 100 {
		path, err := storepath.DefaultDir.Parse(fmt.Sprintf("/nix/store/%032d-x", i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if _, err := c.QueryValidPaths(t.Context(), paths, false); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n > limit/16 {
		t.Errorf("%d requests at once", n)
	}
}
