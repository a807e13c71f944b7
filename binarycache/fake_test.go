package binarycache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/binarycache"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/storepath"
)

// A network has one server, and no latency.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *network) Addr() net.Addr { return &net.IPAddr{} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return ours, nil
	case <-n.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listen serves with a handler, in memory, and returns a client for it. It works in a bubble
// of testing/synctest.
func listen(t *testing.T, handler http.Handler) *http.Client {
	t.Helper()
	n := &network{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)} // handlers abort on purpose
	ended := make(chan struct{})
	go func() { server.Serve(n); close(ended) }()
	transport := &http.Transport{DialContext: n.dial, ExpectContinueTimeout: time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	})
	return &http.Client{Transport: transport}
}

// A fake is a cache in memory. The hook sees each request first, and reports whether it has
// answered it.
type fake struct {
	files map[string]string
	hook  func(w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen []string // the requests, as "path" or "path range"
}

func newFake() *fake {
	return &fake{files: map[string]string{"nix-cache-info": "StoreDir: /nix/store\n"}}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	f.mu.Lock()
	f.seen = append(f.seen, strings.TrimSpace(name+" "+r.Header.Get("Range")))
	f.mu.Unlock()
	if f.hook != nil && f.hook(w, r) {
		return
	}
	text, ok := f.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "x", time.Unix(1, 0), strings.NewReader(text))
}

// requests returns the number of requests whose path contains name.
func (f *fake) requests(name string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if strings.Contains(s, name) {
			n++
		}
	}
	return n
}

// open opens the fake as a store.
func (f *fake) open(t *testing.T, http binarycache.HTTPOptions) *binarycache.Store {
	t.Helper()
	s, err := f.tryOpen(t, http)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *fake) tryOpen(t *testing.T, http binarycache.HTTPOptions) (*binarycache.Store, error) {
	t.Helper()
	http.Client = listen(t, f)
	s, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: http})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// put adds an object with contents of the given length, and returns its narinfo, which the caller
// may change and pass to putNarInfo.
func (f *fake) put(t *testing.T, name, method string, length int) *narinfo.NarInfo {
	t.Helper()
	archive := fileNAR(noise(length))
	file := compress(t, method, archive)
	path, err := storepath.DefaultDir.SourcePath(name, nixhash.Sum(nixhash.SHA256, []byte(archive)), storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	n := &narinfo.NarInfo{Compression: method, FileHash: nixhash.Sum(nixhash.SHA256, []byte(file)), FileSize: uint64(len(file))}
	n.Path, n.NARHash, n.NARSize = path, nixhash.Sum(nixhash.SHA256, []byte(archive)), uint64(len(archive))
	n.URL = narinfo.ArchiveURL(n.FileHash, method)
	f.files[n.URL] = file
	f.putNarInfo(t, n)
	return n
}

// putNarInfo writes a narinfo.
func (f *fake) putNarInfo(t *testing.T, n *narinfo.NarInfo) {
	t.Helper()
	text, err := n.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	f.files[narinfo.FileName(n.Path)] = string(text)
}

// fileNAR returns the archive of a file.
func fileNAR(contents string) string {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// noise returns incompressible bytes, which are the same in each call.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return string(b)
}

// readAll reads an archive from a cache.
func readAll(ctx context.Context, s *binarycache.Store, path storepath.Path) (string, error) {
	r, err := s.NARFromPath(ctx, path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// cutAfter sends the beginning of a file, and closes the connection after that number of bytes.
func cutAfter(w http.ResponseWriter, text string, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	io.WriteString(w, text[:min(n, len(text))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}
