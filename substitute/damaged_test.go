package substitute_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/derivation"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// Many archives of a cache are damaged at the same time, so that their narinfos are read again while other
// archives are opened and added.
func TestDamagedAtOnce(t *testing.T) {
	key, src := newKey(t, "k"), newSubstituter()
	var paths []storepath.Path
	for i := range 200 {
		paths = append(paths, src.put(t, named(t, fmt.Sprint("path-", i)), &key))
	}
	dir := makeCache(t, src, paths...)
	files := http.FileServer(http.Dir(dir))
	var mu sync.Mutex
	requested := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := strings.HasPrefix(r.URL.Path, "/nar/") && !requested[r.URL.Path] && len(requested)%2 == 0
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			requested[r.URL.Path] = true
		}
		mu.Unlock()
		if first {
			w.Write([]byte("no archive"))
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s := local(t, &substitute.Settings{
		Substituters: []substitute.Substituter{{Store: openCache(t, server.URL), URI: "http://damaged"}},
		TrustedKeys:  signature.NewKeySet(key.Public()),
	})
	for _, r := range build(t, t.Context(), s, opaque(paths...)...) {
		if r.Status != store.Substituted {
			t.Errorf("%+v", r)
		}
	}
}

// A signature in a newer info does not vouch for an older info: an unsigned object with a weak content
// address stays refused, although its substituter later sends a signed info of the path.
func TestSignatureOfAnotherInfo(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	self := named(t, "self")
	sub.put(t, self, nil, self)
	made, err := store.MakeContentAddressed(t.Context(), sub, sub, []storepath.Path{self}, store.Rules234)
	if err != nil {
		t.Fatal(err)
	}
	weak := made[self]
	other, err := sub.QueryPathInfo(t.Context(), weak)
	if err != nil {
		t.Fatal(err)
	}
	other.NARSize = 2 << 20 // too large to be read ahead, with other contents
	other.NARHash = nixhash.Sum(nixhash.SHA256, []byte("other"))
	if err := other.Sign(key); err != nil {
		t.Fatal(err)
	}
	settings := from(key, sub)
	settings.Substituters[0].Store = &changing{sub, other}
	s := local(t, settings)
	if r := build(t, t.Context(), s, opaque(weak)...); r[0].Status != store.NoSubstituters {
		t.Errorf("%+v", r)
	}
	checkValid(t, s, false, weak)
}

// A changing substituter sends another info when it is asked again after a damaged archive.
type changing struct {
	*substituter
	fresh *store.PathInfo
}

func (c *changing) RefreshPathInfo(context.Context, storepath.Path) (*store.PathInfo, error) {
	return c.fresh, nil
}

func (c *changing) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if c.times(path) == 0 {
		c.substituter.NARFromPath(ctx, path)
		return nil, damagedError{errBroken}
	}
	return c.substituter.NARFromPath(ctx, path)
}

// A damagedError is retryable.
type damagedError struct{ error }

func (damagedError) Retryable() bool { return true }

// After a path that no substituter provides, the next substituter is asked for other paths and outputs of
// derivations only with keep-going.
func TestKeepGoingTriesOthers(t *testing.T) {
	key, first, second := newKey(t, "k"), newSubstituter(), newSubstituter()
	bad := first.put(t, named(t, "bad"), &key)
	other := first.put(t, named(t, "other"), &key)
	second.put(t, other, &key)
	first.hook = func(context.Context, storepath.Path) error { return errBroken }
	for _, keepGoing := range []bool{false, true} {
		settings := from(key, first, second)
		settings.KeepGoing = keepGoing
		s := local(t, settings)
		results := build(t, t.Context(), s, opaque(bad, other)...)
		if want := map[bool]int{false: 1, true: 2}[keepGoing]; len(results) != want || results[0].Status.Succeeded() {
			t.Errorf("keep-going %t: %+v", keepGoing, results)
		}
		checkValid(t, s, keepGoing, other)
		checkValid(t, s, false, bad)
		if n := second.times(other); n != map[bool]int{false: 0, true: 1}[keepGoing] {
			t.Errorf("keep-going %t: the second substituter was asked %d times", keepGoing, n)
		}
		err := s.BuildPaths(t.Context(), opaque(bad, other), store.BuildNormal)
		if want := map[bool]string{false: "other", true: "bad"}[keepGoing]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("keep-going %t: %v", keepGoing, err)
		}
	}
}

// A substituter that hangs before an answer or before an archive is dropped, and the next one is used.
func TestHangingSubstituter(t *testing.T) {
	key, hanging, good := newKey(t, "k"), newSubstituter(), newSubstituter()
	var paths []storepath.Path
	for i := range 40 {
		path := hanging.put(t, named(t, fmt.Sprint("path-", i)), &key)
		paths = append(paths, good.put(t, path, &key))
	}
	hang := func(ctx context.Context, _ storepath.Path) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for what, set := range map[string]func(){
		"archives": func() { hanging.hook = hang },
		"answers":  func() { hanging.query = hang },
	} {
		set()
		synctest.Test(t, func(t *testing.T) {
			settings := from(key, hanging, good)
			s := substitute.New(memstore.New(nil), &substitute.Options{
				Settings:     func(context.Context) (*substitute.Settings, error) { return settings, nil },
				StallTimeout: 50 * time.Millisecond,
			})
			defer s.Close()
			start := time.Now()
			ctx, events := record(t)
			for _, r := range build(t, ctx, s, opaque(paths...)...) {
				if r.Status != store.Substituted {
					t.Errorf("%s: %+v", what, r)
				}
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: it took %v", what, took)
			}
			if n := strings.Count(events.lines(), "does not answer"); n == 0 || n > 20 {
				t.Errorf("%s: logged %d times:\n%s", what, n, events.lines())
			}
		})
	}
}

// A substituter that does not answer queries about realisations gets one of them per call, not one per output.
func TestRealisationsDown(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	down := &silent{substituter: sub}
	settings := from(key, sub)
	settings.Substituters[0].Store = down
	s := local(t, settings)
	var wanted []derivation.DerivedPath
	for i := range 5 {
		d := &derivation.Derivation{Name: fmt.Sprint("floating-", i), Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
		d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
		drv, err := store.AddText(t.Context(), s, d.Name+".drv", d.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, outputsOf(drv, "out"))
	}
	path := sub.put(t, named(t, "path"), &key)
	for _, r := range build(t, t.Context(), s, append(wanted, opaque(path)...)...) {
		if r.Status.Succeeded() != (r.Path.Base() == path) {
			t.Errorf("%+v", r)
		}
	}
	if n := down.asked.Load(); n != 1 {
		t.Errorf("%d queries", n)
	}
}

// A silent substituter does not answer queries about realisations.
type silent struct {
	*substituter
	asked atomic.Int64
}

func (s *silent) QueryRealisation(context.Context, store.DrvOutput) (*store.Realisation, error) {
	s.asked.Add(1)
	return nil, &binarycache.RequestError{URL: "http://down", Err: errBroken}
}
