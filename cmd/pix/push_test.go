package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// newPusher returns a pusher from one store in memory to another.
func newPusher(t *testing.T, all bool) (p *pusher, src, dst *memstore.Store) {
	src, dst = memstore.New(nil), memstore.New(nil)
	state, err := openPushState(filepath.Join(t.TempDir(), "state"), src.Dir(), "from a to b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.close() })
	return &pusher{
		src: src, state: state, all: all, first: true,
		open:  func(context.Context) (store.Store, error) { return keptOpen{dst}, nil },
		print: func([]storepath.Path) error { return nil },
		warn:  func(string) {},
		note:  func(string) {},
	}, src, dst
}

// A keptOpen is a store that is not closed.
type keptOpen struct{ *memstore.Store }

func (keptOpen) Close() error { return nil }

func addText(t *testing.T, s *memstore.Store, text string, references ...storepath.Path) storepath.Path {
	t.Helper()
	path, err := s.AddTextToStore(t.Context(), "text", text, references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A watching push tries again after failures, with longer and longer pauses, and reports each failure once.
func TestPushRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, src, dst := newPusher(t, true)
		path := addText(t, src, "x")
		var tries []time.Time
		var warnings []string
		open := p.open
		p.warn = func(text string) { warnings = append(warnings, text) }
		p.open = func(ctx context.Context) (store.Store, error) {
			tries = append(tries, time.Now())
			if len(tries) < 12 {
				return nil, errors.New("the cache is down")
			}
			return open(ctx)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() { ended <- p.watch(ctx, time.Second) }()
		time.Sleep(time.Hour)
		cancel(errInterrupted)
		if err := <-ended; err != errInterrupted {
			t.Error(err)
		}
		if valid, err := dst.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Errorf("it was not pushed: %v", err)
		}
		if len(tries) != 12 || tries[1].Sub(tries[0]) != 2*time.Second || tries[11].Sub(tries[10]) != time.Minute {
			t.Errorf("it tried at %v", tries)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "the cache is down; trying again") {
			t.Errorf("warnings %q", warnings)
		}
	})
}

// A watching push waits for a cache that is down when it starts. A cache that refuses requests ends it.
func TestPushBeforeCache(t *testing.T) {
	from := "file://" + t.TempDir()
	if out, err := exec.Command("pix", "--store", from, "add-text", "text", "contents").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusUnauthorized} {
		var requests atomic.Int32
		has := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case requests.Add(1) <= 3:
				w.WriteHeader(status)
			case r.Method != http.MethodPut:
				http.NotFound(w, r)
			case strings.HasSuffix(r.URL.Path, ".narinfo"):
				close(has)
			}
		}))
		defer server.Close()
		push := exec.Command("pix", "--store", from, "push", "--all", "--watch", "--interval", "1ms", "--state", filepath.Join(t.TempDir(), "state"), server.URL)
		push.Env = append(os.Environ(), "NIX_CONFIG=download-attempts = 1")
		var output bytes.Buffer
		push.Stderr = &output
		if err := push.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- push.Wait() }()
		select {
		case <-has:
			push.Process.Kill()
			<-ended
		case <-ended:
		}
		if waited := requests.Load() > 3; waited != (status == http.StatusServiceUnavailable) {
			t.Errorf("status %d: %d requests, the push printed %s", status, requests.Load(), output.String())
		}
	}
}

// A path that cannot be copied does not keep others from being copied and recorded, and is tried again.
func TestPushBadPath(t *testing.T) {
	p, src, dst := newPusher(t, true)
	good := addText(t, src, "good")
	bad := addText(t, src, "bad")
	p.src = &damagedStore{src, bad}
	for range 2 {
		if err := p.step(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Error(err)
		}
	}
	if valid, _ := dst.QueryValidPaths(t.Context(), []storepath.Path{good, bad}, false); !slices.Equal(valid, []storepath.Path{good}) {
		t.Errorf("valid are %q", valid)
	}
	if !p.state.pushed[good] || p.state.pushed[bad] {
		t.Errorf("recorded are %v", p.state.pushed)
	}
}

// A recorded path that --all cannot copy is tried again by the next push.
func TestPushAllFails(t *testing.T) {
	p, src, _ := newPusher(t, true)
	good, bad := addText(t, src, "good"), addText(t, src, "bad")
	if err := p.state.replace([]storepath.Path{good, bad}, nil); err != nil {
		t.Fatal(err)
	}
	p.src = &damagedStore{src, bad}
	if err := p.step(t.Context()); err == nil {
		t.Error("no error")
	}
	if err := errors.Join(p.state.close(), equalFile(p.state.name, "pix push from a to b\n"+good.Base()+"\n")); err != nil {
		t.Error(err)
	}
}

// A damagedStore cannot read the archive of one path.
type damagedStore struct {
	*memstore.Store
	bad storepath.Path
}

func (s *damagedStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path == s.bad {
		return nil, errors.New("the archive is damaged")
	}
	return s.Store.NARFromPath(ctx, path)
}

// The state file is read again; an incomplete last line is removed, and a damaged file is an error.
func TestPushState(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	open := func() (*pushState, error) { return openPushState(name, storepath.DefaultDir, "from a to b") }
	s, err := open()
	if err != nil || !s.isNew {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "another push uses") {
		t.Errorf("a second push: %v", err)
	}
	path := addText(t, memstore.New(nil), "x")
	if err := errors.Join(s.replace(nil, nil), s.add([]storepath.Path{path, path}, nil), s.close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if want := "pix push from a to b\n" + path.Base() + "\n"; err != nil || string(text) != want {
		t.Fatalf("%q, %v, want %q", text, err, want)
	}
	for damaged, want := range map[string]string{
		string(text) + path.Base()[:20]: "",
		"other\n":                       "is not the one of a push from a to b",
		"":                              "is not the one of a push",
		"pix push from a to b\n../x\n":  "state file",
	} {
		if err := os.WriteFile(name, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := open()
		if err == nil {
			err = errors.Join(s.close(), equalFile(name, string(text)))
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", damaged, err, want)
		}
	}
}

// A full disk leaves a part of a line. The next line does not continue it. A file that was deleted is written again.
func TestPushStateTorn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	open := func() *pushState {
		s, err := openPushState(name, storepath.DefaultDir, "from a to b")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, src := open(), memstore.New(nil)
	first, second := addText(t, src, "1"), addText(t, src, "2")
	if err := errors.Join(s.replace(nil, nil), s.add([]storepath.Path{first}, nil)); err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func() error{
		"a torn line": func() error { return os.Truncate(name, int64(len("pix push from a to b\n")+10)) },
		"empty":       func() error { return os.Truncate(name, 0) },
		"deleted":     func() error { return os.Remove(name) },
	} {
		delete(s.pushed, second)
		if err := errors.Join(damage(), s.add([]storepath.Path{second}, nil), s.close()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if s = open(); len(s.pushed) != 2 || !s.pushed[first] || !s.pushed[second] {
			t.Errorf("%s: recorded are %v", what, s.pushed)
		}
	}
	s.close()
}

// equalFile returns an error if a file has other contents.
func equalFile(name, want string) error {
	got, err := os.ReadFile(name)
	if err == nil && string(got) != want {
		err = fmt.Errorf("the file has %q", got)
	}
	return err
}
