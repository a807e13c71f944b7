package view_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/nar"
	"pix/nixhash"
	"pix/store/memstore"
	"pix/storepath"
	"pix/view"
)

// A slowStore has archives that never end. It reports when the reading of one begins and ends.
type slowStore struct {
	*memstore.Store
	reads chan string // has "begin" and "end" for each archive
}

func (s *slowStore) NARFromPath(ctx context.Context, _ storepath.Path) (io.ReadCloser, error) {
	s.reads <- "begin"
	return &slowReader{ctx, s.reads}, nil
}

type slowReader struct {
	ctx   context.Context
	reads chan string
}

func (r *slowReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, context.Cause(r.ctx)
}

func (r *slowReader) Close() error {
	r.reads <- "end"
	return nil
}

// newSlow returns a handler over such a store, and a request for the files of an archive.
func newSlow(t *testing.T) (s *slowStore, h *view.Handler, request *http.Request) {
	t.Helper()
	s = &slowStore{Store: memstore.New(nil), reads: make(chan string, 20)}
	path, err := s.AddTextToStore(t.Context(), "large", "large", nil)
	if err != nil {
		t.Fatal(err)
	}
	if h, err = view.New(t.Context(), s, &view.Options{Origin: origin}); err != nil {
		t.Fatal(err)
	}
	request = httptest.NewRequest("GET", origin+"/api/mentions?from="+string(path)+"&to="+string(path), nil)
	request.Header.Set("Authorization", "Bearer "+bearerOf(t, h))
	return s, h, request
}

// A query that reads too much is refused after a while, and so are the ones that wait for it.
func TestQueryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, request := newSlow(t)
		const queries = 6 // more than run at the same time, so some wait
		codes := make(chan string, queries)
		start := time.Now()
		for range queries {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request.Clone(t.Context()))
				codes <- fmt.Sprint(w.Code, w.Body)
			}()
		}
		synctest.Wait()
		if n := len(s.reads); n != 4 {
			t.Errorf("%d archives are read at the same time", n)
		}
		for range queries {
			if got := <-codes; !strings.HasPrefix(got, "504") || !strings.Contains(got, "why-depends") {
				t.Errorf("a query: %s", got)
			}
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("they took %v", took)
		}
	})
}

// A query ends when its client leaves.
func TestQueryCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, request := newSlow(t)
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan any)
		start := time.Now()
		go func() {
			defer func() { ended <- recover() }()
			h.ServeHTTP(httptest.NewRecorder(), request.Clone(ctx))
		}()
		if got := <-s.reads; got != "begin" {
			t.Fatal(got)
		}
		leave()
		if got := <-s.reads; got != "end" || time.Since(start) > 0 {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		if got := <-ended; got != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v", got)
		}
	})
}

// Of very many files that contain a reference only the first ones are listed.
func TestManyMentions(t *testing.T) {
	s := memstore.New(nil)
	lib, err := s.AddTextToStore(t.Context(), "lib", "lib", nil)
	if err != nil {
		t.Fatal(err)
	}
	const files = 700
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for i := range files {
		w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 1, Name: fmt.Sprintf("%04d", i), Target: string(lib)})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	app, err := s.AddToStore(t.Context(), "app", storepath.NAR, nixhash.SHA256, []storepath.Path{lib}, &archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, get := newClient(t, s, app.Path)
	_, body := get("mentions?from=" + string(app.Path) + "&to=" + string(lib))
	var answer struct {
		Mentions []struct{ File, Target string }
		More     int
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Mentions) != 500 || answer.More != files-500 ||
		answer.Mentions[499].File != "/0499" || answer.Mentions[499].Target != string(lib) {
		t.Errorf("%d files and %d more, %v", len(answer.Mentions), answer.More, err)
	}
}
