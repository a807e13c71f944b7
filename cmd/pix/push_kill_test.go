package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/binarycache"
	"pix/localstore"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Pushes are killed at random requests, two run at once with one state file, and paths are added and deleted meanwhile.
// Afterwards the cache has every valid path, and at no time a narinfo whose archive or references it lacks. With PIX_LONG=1 it
// kills 200 times.
func TestPushKilled(t *testing.T) {
	times := 20
	if os.Getenv("PIX_LONG") == "1" {
		times = 200
	}
	root := filepath.Join(t.TempDir(), "store")
	cache := &killingCache{t: t, files: make(map[string][]byte)}
	server := httptest.NewServer(cache)
	defer server.Close()
	w := &pushWorld{t: t, root: root, cache: cache, args: []string{"--store", root, "push", "--state", filepath.Join(t.TempDir(), "state"), server.URL}}
	w.addSome(-1)       // creates the store
	w.pushOnce("--all") // the first push
	killed := 0
	for i := range times {
		w.addSome(i)
		killed += w.pushUntilKilled(i)
	}
	w.pushOnce()
	if killed < times/4 {
		t.Errorf("only %d of %d pushes were killed during a request", killed, times)
	}
	var valid []storepath.Path
	w.withStore(func(s *localstore.Store) (err error) {
		valid, err = store.AllValidPaths(t.Context(), s)
		return err
	})
	t.Logf("%d requests, %d pushes killed during one, %d paths", cache.count, killed, len(valid))
	dst, err := binarycache.Open(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if copied, err := store.Copy(t.Context(), memstore.New(nil), dst, valid, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil || len(copied) != len(valid) || len(valid) == 0 {
		t.Errorf("%d of %d paths are in the cache: %v", len(copied), len(valid), err)
	}
}

// A pushWorld pushes from one store to one cache.
type pushWorld struct {
	t     *testing.T
	root  string // of the store
	cache *killingCache
	args  []string
	last  []storepath.Path // the last paths that were added
}

// pushOnce pushes to the end.
func (w *pushWorld) pushOnce(flags ...string) {
	w.t.Helper()
	if out, err := exec.Command("pix", append(w.args, flags...)...).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// addSome adds paths that refer to earlier ones, and sometimes deletes one.
func (w *pushWorld) addSome(round int) {
	w.withStore(func(s *localstore.Store) error {
		for i := range 4 {
			contents := strings.Repeat(fmt.Sprintln(round, i), 1+rand.IntN(20_000))
			path, err := s.AddTextToStore(w.t.Context(), fmt.Sprintf("text-%d-%d", round, i), contents, w.last)
			if err != nil {
				return err
			}
			w.last = []storepath.Path{path}
		}
		return nil
	})
	if rand.IntN(4) > 0 {
		return
	}
	w.withStore(func(s *localstore.Store) error {
		_, err := s.CollectGarbage(w.t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: w.last})
		return err
	})
	w.last = nil
}

// withStore opens the store: closing it ends the temporary roots of the paths that were added.
func (w *pushWorld) withStore(work func(s *localstore.Store) error) {
	s, err := localstore.Open(w.t.Context(), &localstore.Options{Root: w.root})
	if err == nil {
		err = errors.Join(work(s), s.Close())
	}
	if err != nil {
		w.t.Error(err)
	}
}

// pushUntilKilled starts two watching pushes, adds paths, and kills the push that sends a random request. If there are not so
// many, it kills the pushes when the cache has everything. It returns how many were killed by a request.
func (w *pushWorld) pushUntilKilled(round int) (killed int) {
	w.t.Helper()
	var pushes [2]*exec.Cmd
	var outputs [2]bytes.Buffer
	killAll := func() {
		for _, cmd := range pushes {
			cmd.Process.Kill() // it may have ended
		}
	}
	hit := w.cache.killAfter(1+rand.IntN(12), rand.IntN(2) == 0, killAll)
	var running sync.WaitGroup
	for i := range pushes {
		pushes[i] = exec.Command("pix", append(w.args, "--watch", "--interval", "1ms")...)
		pushes[i].Stderr = &outputs[i]
	}
	w.cache.mu.Lock() // killAll needs both processes
	for i, cmd := range pushes {
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		running.Go(func() {
			if err := cmd.Wait(); err == nil || strings.Contains(outputs[i].String(), "panic") {
				w.t.Errorf("a push ended: %v, %s", err, outputs[i].String())
			}
		})
	}
	w.cache.mu.Unlock()
	w.addSome(1000 + round)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		select {
		case <-hit:
			running.Wait()
			return 1
		case <-time.After(10 * time.Millisecond):
		}
		all := false
		w.withStore(func(s *localstore.Store) (err error) {
			all, err = w.cache.hasAll(s)
			return err
		})
		if all {
			break
		}
		if time.Now().After(deadline) {
			w.t.Errorf("paths are missing; the pushes printed %s and %s", outputs[0].String(), outputs[1].String())
			break
		}
	}
	killAll()
	running.Wait()
	w.cache.killAfter(-1, false, nil)
	return 0
}

// A killingCache stores the files that it receives. It reports each narinfo that refers to files that it lacks.
type killingCache struct {
	t *testing.T

	mu     sync.Mutex
	files  map[string][]byte
	count  int  // requests
	left   int  // requests until one kills
	stores bool // that request takes effect
	kill   func()
	hit    chan struct{}
}

// killAfter makes the nth request from now kill its sender, and returns a channel that is closed then.
func (c *killingCache) killAfter(n int, stores bool, kill func()) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.stores, c.kill, c.hit = n, stores, kill, make(chan struct{})
	return c.hit
}

func (c *killingCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.left--
	kills := c.left == 0
	if kills && !c.stores {
		c.kill()
	}
	if r.Method == http.MethodPut && err == nil && (!kills || c.stores) {
		c.put(r.URL.Path, body)
	}
	if kills {
		c.kill()
		close(c.hit)
		panic(http.ErrAbortHandler)
	}
	file, has := c.files[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	case has:
		w.Write(file)
	default:
		http.NotFound(w, r)
	}
}

// put stores a file. A narinfo must not come before the files that it needs.
func (c *killingCache) put(name string, body []byte) {
	c.files[name] = body
	if !strings.HasSuffix(name, ".narinfo") {
		return
	}
	n, err := narinfo.ParseBytes(body, nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	if file := c.files["/"+n.URL]; uint64(len(file)) != n.FileSize || nixhash.Sum(nixhash.SHA256, file) != n.FileHash {
		c.t.Errorf("the narinfo of '%s' came before its archive", n.Path)
	}
	for _, ref := range n.References {
		if c.files["/"+narinfo.FileName(ref)] == nil {
			c.t.Errorf("the narinfo of '%s' came before its reference '%s'", n.Path, ref)
		}
	}
}

// hasAll reports whether the cache has all valid paths of a store.
func (c *killingCache) hasAll(s store.Store) (bool, error) {
	valid, err := store.AllValidPaths(c.t.Context(), s)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range valid {
		if c.files["/"+narinfo.FileName(path)] == nil {
			return false, err
		}
	}
	return true, err
}
