package cacheserver_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A logStore is a store with one log, or an error.
type logStore struct {
	store.Store
	log io.Reader
	err error
}

func (s *logStore) Unwrap() store.Store { return s.Store }

func (s *logStore) BuildLog(context.Context, storepath.Path) (io.ReadCloser, error) {
	if s.err != nil {
		return nil, s.err
	}
	return io.NopCloser(s.log), nil
}

// A log is the one of the first store that has it. If an upstream store fails, the log is not absent, and never complete.
func TestUpstreamLog(t *testing.T) {
	const drv = "/nix/store/00000000000000000000000000000000-a.drv"
	url := "/log/" + strings.TrimPrefix(drv, "/nix/store/")
	broken := errors.New("broken")
	first, own := memstore.New(nil), memstore.New(nil)
	if err := own.AddBuildLog(t.Context(), drv, strings.NewReader("ours\n")); err != nil {
		t.Fatal(err)
	}
	failing := func() io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("line\n", 100_000)), readerFunc(func([]byte) (int, error) { return 0, broken }))
	}
	for name, test := range map[string]struct {
		first  store.Store
		src    logStore
		status int // 0 is a broken connection
		body   string
	}{
		"upstream":   {first, logStore{log: strings.NewReader("theirs\n")}, http.StatusOK, "theirs\n"},
		"this store": {own, logStore{log: strings.NewReader("theirs\n")}, http.StatusOK, "ours\n"},
		"absent":     {first, logStore{err: &store.NotFoundError{Path: drv}}, http.StatusNotFound, ""},
		"down":       {first, logStore{err: broken}, http.StatusBadGateway, ""},
		"cut":        {first, logStore{log: failing()}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.src.Store = memstore.New(nil)
			u := newUpstream(t, &test.src, &cacheserver.UpstreamOptions{Dir: t.TempDir()})
			srv := serve(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{}}, Dir: t.TempDir()}}, test.first, u)
			r, err := http.Get(srv.URL + url)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			switch {
			case test.status == 0:
				if err == nil {
					t.Error("a cut log is complete")
				}
			case err != nil || r.StatusCode != test.status || test.body != "" && string(body) != test.body:
				t.Errorf("%d, %q, error %v", r.StatusCode, body, err)
			}
			// An uploader does not see logs of the upstream store.
			up, err := http.Get(srv.URL + "/upload" + url)
			if err != nil {
				t.Fatal(err)
			}
			up.Body.Close()
			if ok := up.StatusCode == http.StatusOK; ok != (test.first == own) {
				t.Errorf("an uploader gets %d", up.StatusCode)
			}
		})
	}
}
