package cacheserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pix/cacheserver"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A damagedStore changes what the reader of an archive returns.
type damagedStore struct {
	*memstore.Store
	open func(path storepath.Path, archive io.ReadCloser) (io.ReadCloser, error)
}

func (s *damagedStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	r, err := s.Store.NARFromPath(ctx, path)
	if err != nil {
		return nil, err
	}
	return s.open(path, r)
}

var errDamaged = errors.New("NAR hash mismatch in a file of the server")

// A badEnd reads another reader, and then fails.
type badEnd struct{ io.ReadCloser }

func (r badEnd) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		err = errDamaged
	}
	return n, err
}

// reading returns a reader of other contents.
func reading(contents string) func(storepath.Path, io.ReadCloser) (io.ReadCloser, error) {
	return func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) {
		r.Close()
		return io.NopCloser(strings.NewReader(contents)), nil
	}
}

// No response with a damaged archive looks complete: the client gets an error status or a broken connection.
func TestDamagedArchive(t *testing.T) {
	for size := range map[int]bool{10: true, 100_000: true, 3 << 20: true} {
		mem := memstore.New(nil)
		path := addText(t, mem, "x", strings.Repeat("x", size))
		whole, _ := store.ReadNAR(t.Context(), mem, path)
		archive, err := io.ReadAll(whole)
		if err != nil {
			t.Fatal(err)
		}
		for name, open := range map[string]func(storepath.Path, io.ReadCloser) (io.ReadCloser, error){
			"wrong hash": func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) { return badEnd{r}, nil },
			"short":      reading(string(archive[:len(archive)-8])),
			"long":       reading(string(archive) + "12345678"),
			"empty":      reading(""),
			"refused":    func(storepath.Path, io.ReadCloser) (io.ReadCloser, error) { return nil, errDamaged },
		} {
			for _, opts := range []*cacheserver.Options{nil, {Compress: true}, {Compress: true, CompressedDir: t.TempDir()}} {
				srv := serve(t, opts, &damagedStore{mem, open})
				url := srv.URL + "/" + narInfoOf(t, srv.Config.Handler, path).URL
				for _, accept := range []string{"identity", "zstd"} {
					r, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
					r.Header.Set("Accept-Encoding", accept)
					resp, err := http.DefaultClient.Do(r)
					if err != nil {
						continue
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err == nil && resp.StatusCode == 200 {
						t.Errorf("%s, %d bytes, %s: a complete response with %d bytes", name, size, accept, len(body))
					}
					if strings.Contains(string(body), errDamaged.Error()) {
						t.Errorf("the client learns of files of the server: %s", body)
					}
				}
			}
		}
	}
}

// An object that is replaced between the narinfo and the archive, or while the archive is opened, is absent.
func TestReplacedObject(t *testing.T) {
	const path = "/nix/store/00000000000000000000000000000000-x"
	s := memstore.New(nil)
	addArchive(t, s, path, fileArchive("one"))
	replace := func() { addArchive(t, s, path, fileArchive("two")) }
	opened := 0
	damaged := &damagedStore{s, func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) {
		opened++
		if opened == 1 { // the server has queried the info already
			replace()
		}
		return r, nil
	}}
	h := newHandler(t, nil, damaged)
	url := "/" + narInfoOf(t, h, path).URL
	for range 2 {
		if w := ask(h, "GET", url); w.Code != 404 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	if w := ask(h, "GET", "/"+narInfoOf(t, h, path).URL); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), fileArchive("two")) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A client that does not read loses its place, and others get their archives.
func TestSlowClient(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "large", strings.Repeat("0123456789abcdef", 1<<20)) // more than the buffers of a connection
	srv := serve(t, &cacheserver.Options{MaxArchives: 1, StallTimeout: 200 * time.Millisecond}, s)
	url := narInfoOf(t, srv.Config.Handler, path).URL
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "GET /"+url+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 100)); err != nil { // it has the only place
		t.Fatal(err)
	}
	for { // on a loaded machine this client may be too slow, too
		if body, err := readAll(t, srv.URL+"/"+url); err == nil && len(body) > 16<<20 {
			break
		}
	}
}

// A deadlineWriter records the last deadline.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
	calls    int
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	w.calls++
	return nil
}

// The deadlines of the handler end with its requests, because the connection may belong to another handler next.
func TestDeadlineEnds(t *testing.T) {
	h := newHandler(t, nil, memstore.New(nil))
	for _, target := range []string{"/nix-cache-info", "/nope"} {
		w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.calls < 2 || !w.deadline.IsZero() {
			t.Errorf("%s: %d deadlines, the last one is %v", target, w.calls, w.deadline)
		}
	}
}

// A badReader panics.
type badReader struct{ io.ReadCloser }

func (badReader) Read([]byte) (int, error) { panic(http.ErrAbortHandler) }

// A panic of a store ends one request, also if it comes on another goroutine.
func TestPanic(t *testing.T) {
	mem := memstore.New(nil)
	small, large := addText(t, mem, "x", "hello"), addText(t, mem, "y", strings.Repeat("x", 2<<20))
	for _, opts := range []*cacheserver.Options{nil, {Compress: true, CompressedDir: t.TempDir()}} {
		srv := serve(t, opts, &damagedStore{mem, func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) {
			r.Close()
			return badReader{r}, nil
		}})
		for _, path := range []storepath.Path{small, large} {
			resp, err := http.Get(srv.URL + "/" + narInfoOf(t, srv.Config.Handler, path).URL)
			if err != nil {
				continue
			}
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == 200 {
				t.Errorf("%s: a complete response", path)
			}
		}
		if body, err := readAll(t, srv.URL+"/nix-cache-info"); err != nil || len(body) == 0 {
			t.Error(err)
		}
	}
}
