package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A faultyProxy passes requests on to a server. It interrupts some transfers.
type faultyProxy struct {
	url  string
	next http.Handler

	mu      sync.Mutex
	cutting bool            // whether to break the first response with each archive
	begun   map[string]bool // the archives that were requested since then
	resumed int             // number of requests for a part of an archive
	hold    *heldTransfer   // the next archive
	refused bool            // whether the next upload gets an error that no client repeats
}

// newFaultyProxy returns a proxy of a server without faults.
func newFaultyProxy(t *testing.T, target string) *faultyProxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(u)
	next.FlushInterval = -1
	next.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	p := &faultyProxy{next: next, begun: make(map[string]bool)}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *faultyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	isArchive := strings.Contains(r.URL.Path, "/nar/")
	isUpload := r.Method == http.MethodPut
	hold, refused, cut := p.hold, p.refused && isUpload, false
	if isArchive && r.Method == http.MethodGet {
		cut = p.cutting && !p.begun[r.URL.Path]
		p.begun[r.URL.Path] = p.cutting
		if r.Header.Get("Range") != "" {
			p.resumed++
		}
	}
	if isArchive && r.Method != http.MethodHead {
		p.hold = nil
	} else {
		hold = nil
	}
	if refused {
		p.refused = false
	}
	p.mu.Unlock()

	switch {
	case hold != nil && isUpload:
		r.Body = &heldBody{ReadCloser: r.Body, transfer: hold}
		p.next.ServeHTTP(w, r)
	case hold != nil:
		p.next.ServeHTTP(&brokenWriter{ResponseWriter: w, left: holdAfter, transfer: hold}, r)
	case refused:
		io.CopyN(io.Discard, r.Body, 10)
		w.WriteHeader(http.StatusNotImplemented)
	case cut:
		p.next.ServeHTTP(&brokenWriter{ResponseWriter: w, left: cutAfter}, r)
	default:
		p.next.ServeHTTP(w, r)
	}
}

// A heldTransfer is a transfer that stops after some bytes, and breaks when the test has killed the client.
type heldTransfer struct{ stopped, broken chan struct{} }

// wait stops the transfer.
func (t *heldTransfer) wait() {
	close(t.stopped)
	<-t.broken
}

// holdNext stops the next archive.
func (p *faultyProxy) holdNext() *heldTransfer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = &heldTransfer{make(chan struct{}), make(chan struct{})}
	return p.hold
}

// cutAll breaks the first response with each archive from now on.
func (p *faultyProxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutting = true
}

// refuseNext makes the next upload fail.
func (p *faultyProxy) refuseNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = true
}

// parts returns the number of requests for a part of an archive.
func (p *faultyProxy) parts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resumed
}

// The number of bytes of an archive that pass before a fault.
const (
	holdAfter = 100 // every archive has more
	cutAfter  = 20_000
)

// A brokenWriter breaks the connection after some bytes.
type brokenWriter struct {
	http.ResponseWriter
	left     int
	transfer *heldTransfer // nil breaks it at once
}

// Unwrap returns the writer that can flush.
func (w *brokenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *brokenWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	if n, err := w.ResponseWriter.Write(p[:n]); err != nil || n == len(p) {
		return n, err
	}
	http.NewResponseController(w.ResponseWriter).Flush()
	if w.transfer != nil {
		w.transfer.wait()
	}
	panic(http.ErrAbortHandler)
}

// A heldBody returns one piece of a body, and then breaks.
type heldBody struct {
	io.ReadCloser
	transfer *heldTransfer
	begun    bool
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.begun {
		b.transfer.wait()
		return 0, io.ErrUnexpectedEOF
	}
	b.begun = true
	return b.ReadCloser.Read(p[:min(len(p), holdAfter)])
}
