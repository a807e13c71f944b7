package binarycache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A recorder is a cache in memory that accepts uploads, and records every request.
type recorder struct {
	hook func(w http.ResponseWriter, r *http.Request) bool // sees each request first

	mu    sync.Mutex
	files map[string]upload
	seen  []string // the requests, as "METHOD name"
}

// An upload is a body that was sent, with headers.
type upload struct {
	body                        string
	contentType, encoding, size string
	expect                      string
	md5, storageClass           string
}

func newRecorder() *recorder { return &recorder{files: make(map[string]upload)} }

func (c *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	c.mu.Lock()
	c.seen = append(c.seen, r.Method+" "+name)
	hook := c.hook
	c.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		h := r.Header
		c.mu.Lock()
		c.files[name] = upload{
			string(body), h.Get("Content-Type"), h.Get("Content-Encoding"), h.Get("Content-Length"), h.Get("Expect"),
			h.Get("Content-MD5"), h.Get("X-Amz-Storage-Class"),
		}
		c.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		return
	}
	c.mu.Lock()
	file, ok := c.files[name]
	c.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if file.encoding != "" {
		w.Header().Set("Content-Encoding", file.encoding)
	}
	http.ServeContent(w, r, "x", time.Unix(1, 0), strings.NewReader(file.body))
}

// set changes the hook.
func (c *recorder) set(hook func(w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = hook
}

// uploads returns the files that were sent.
func (c *recorder) uploads() map[string]upload {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.files)
}

// requests returns the requests that begin with a text, in the order in which they arrived.
func (c *recorder) requests(prefix string) (some []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seen {
		if strings.HasPrefix(s, prefix) {
			some = append(some, s)
		}
	}
	return some
}

// open opens the recorder as a store, in memory.
func (c *recorder) open(t *testing.T, params string, http binarycache.HTTPOptions) *binarycache.Store {
	t.Helper()
	http.Client = listen(t, c)
	return open(t, "http://cache.example/"+params, &binarycache.Options{HTTP: http, Create: true})
}

// A copy to a cache behind HTTP sends every file once, with its type, and a narinfo after the narinfos to which it
// refers. A copy from it gives the same objects.
func TestUpload(t *testing.T) {
	src, paths := chain(t, 20)
	c := newRecorder()
	s := c.open(t, "?write-nar-listing=true&ls-compression=gzip&narinfo-compression=zstd&log-compression=br", binarycache.HTTPOptions{})
	if _, err := store.Copy(t.Context(), s, src, paths[19:], nil); err != nil {
		t.Fatal(err)
	}
	const drv = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv"
	if err := s.AddBuildLog(t.Context(), drv, strings.NewReader("a log")); err != nil {
		t.Fatal(err)
	}
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Path: drv, Output: "out"}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: paths[0]}}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddSignatures(t.Context(), paths[0], []string{"key:AAAA"}); err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for name, file := range c.uploads() {
		types[file.contentType+" "+file.encoding]++
		if file.size != fmt.Sprint(len(file.body)) {
			t.Errorf("'%s' has the length %q, and %d bytes", name, file.size, len(file.body))
		}
	}
	want := map[string]int{
		"text/x-nix-cache-info ": 1, "text/x-nix-narinfo zstd": 20, "application/x-nix-nar ": 20, "application/json gzip": 20,
		"text/plain; charset=utf-8 br": 1, "application/json ": 2,
	}
	if fmt.Sprint(types) != fmt.Sprint(want) {
		t.Errorf("it sent %v, want %v", types, want)
	}
	if first := c.requests("PUT")[0]; first != "PUT nix-cache-info" {
		t.Errorf("it began with %s", first)
	}
	if got := c.requests("PUT"); len(got) != 65 { // one narinfo twice
		t.Errorf("%d uploads", len(got))
	}
	checkOrder(t, c, paths)
	checkUploaded(t, c, src, paths)
	if info, err := s.QueryPathInfo(t.Context(), paths[0]); err != nil || len(info.Signatures) != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// checkOrder checks that the narinfos were sent in the order of the paths, each after its archive.
func checkOrder(t *testing.T, c *recorder, paths []storepath.Path) {
	t.Helper()
	last, seen := -1, c.requests("")
	for _, path := range paths {
		at := slices.Index(seen, "PUT "+path.HashPart()+".narinfo")
		if at <= last {
			t.Errorf("the narinfo of %s was sent before a reference", path)
		}
		last = at
	}
}

// checkUploaded checks that a copy from the cache gives the same objects.
func checkUploaded(t *testing.T, c *recorder, src *memstore.Store, paths []storepath.Path) {
	t.Helper()
	back := memstore.New(nil)
	if _, err := store.Copy(t.Context(), back, c.open(t, "", binarycache.HTTPOptions{}), paths, nil); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if archiveOf(t, back, path) != archiveOf(t, src, path) {
			t.Errorf("the contents of %s are different", path)
		}
	}
}

// The server has the archive, or not, whatever it answers to a HEAD request.
func TestUploadExistingArchive(t *testing.T) {
	src, paths := chain(t, 1)
	size := len(archiveOf(t, src, paths[0]))
	for name, test := range map[string]struct {
		head func(w http.ResponseWriter)
		sent bool
	}{
		"has it":           {func(w http.ResponseWriter) { w.Header().Set("Content-Length", fmt.Sprint(size)) }, false},
		"has another":      {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "7") }, true},
		"of unknown size":  {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, false},
		"lacks it":         {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, true},
		"hides it":         {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, true},
		"does not say":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) }, true},
		"says it too late": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) }, true},
		"compresses it now": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Length", "7")
		}, false},
	} {
		c := newRecorder()
		c.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/nar/") {
				return false
			}
			test.head(w)
			return true
		}
		s := c.open(t, "?compression=none", binarycache.HTTPOptions{})
		if _, err := store.Copy(t.Context(), s, src, paths, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if sent := len(c.requests("PUT nar/")) == 1; sent != test.sent {
			t.Errorf("the server %s: uploaded: %v", name, sent)
		}
	}
}

// putOne adds an object with contents of a size.
func putOne(t *testing.T, s *binarycache.Store, size int) error {
	t.Helper()
	return putOneIn(t.Context(), s, size)
}

func putOneIn(ctx context.Context, s *binarycache.Store, size int) error {
	archive := fileNAR(noise(size))
	path, err := storepath.DefaultDir.SourcePath("x", nixhash.Sum(nixhash.SHA256, []byte(archive)), storepath.References{})
	if err != nil {
		return err
	}
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, []byte(archive)), NARSize: uint64(len(archive))}
	return s.AddToStoreNAR(ctx, info, strings.NewReader(archive), nil)
}

// Uploads to an unreliable server are repeated from their beginning.
func TestUploadRetries(t *testing.T) {
	var release chan bool
	hang := func() { <-release }
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
	}
	for name, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"500":         status(500),
		"503 at last": func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); w.WriteHeader(503) },
		"408":         status(408),
		"429":         status(429),
		"417":         status(417),
		"a reset":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a reset in the middle": func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			panic(http.ErrAbortHandler)
		},
		"success without the body": status(200),
		"nothing":                  func(w http.ResponseWriter, r *http.Request) { hang() },
		"stalls": func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			hang()
		},
		"no answer":  func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); hang() },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"?again", 307) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newRecorder()
				s := c.open(t, "", binarycache.HTTPOptions{})
				c.hookPuts(fail)
				release = make(chan bool)
				defer close(release)
				if err := putOne(t, s, 1500<<10); err != nil {
					t.Fatal(err)
				}
				for name, file := range c.uploads() {
					if strings.HasPrefix(name, "nar/") && len(file.body) < 1500<<10 {
						t.Errorf("the archive has %d bytes", len(file.body))
					}
				}
				if got := c.requests("PUT nar/"); len(got) != 2 {
					t.Errorf("it was sent %d times", len(got))
				}
			})
		})
	}
}

// hookPuts makes the first upload of each archive fail.
func (c *recorder) hookPuts(fail func(http.ResponseWriter, *http.Request)) {
	var mu sync.Mutex
	failed := make(map[string]bool)
	c.set(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		first := r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/nar/") && !failed[r.URL.Path]
		failed[r.URL.Path] = failed[r.URL.Path] || first
		mu.Unlock()
		if first {
			fail(w, r)
		}
		return first
	})
}

// A server that refuses an upload is asked once. Its message is shown in one line, without control characters.
func TestUploadRefused(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		text   string
		want   string
	}{
		"too large": {413, "too\r\n  large \x1b[31m", `HTTP status 413 Request Entity Too Large: too large \x1b[31m`},
		"forbidden": {403, "<Error>\n<Code>\"No\"</Code></Error>", `HTTP status 403 Forbidden: "No"`},
		"login":     {401, "", "HTTP status 401 Unauthorized"},
		"not found": {404, strings.Repeat("é", 4000), "HTTP status 404 Not Found: é"},
		"accepted":  {202, "later", "HTTP status 202 Accepted: later"},
		"endless":   {400, strings.Repeat("no ", 1<<20), "HTTP status 400 Bad Request: no no"},
	} {
		c := newRecorder()
		s := c.open(t, "", binarycache.HTTPOptions{})
		c.hookPuts(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(test.status)
			io.WriteString(w, test.text)
		})
		err := putOne(t, s, 2<<20)
		failed, ok := errors.AsType[*binarycache.RequestError](err)
		if !ok || failed.Status != test.status || failed.Tries != 1 || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "unable to upload 'http://cache.example/nar/") {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.requests("PUT nar/"); len(got) != 1 || len(c.requests("PUT ")) != 2 {
			t.Errorf("%s: it sent %q", name, c.requests("PUT"))
		}
	}
}

// An upload is not redirected to another host, and the login does not get there either.
func TestUploadRedirected(t *testing.T) {
	for location, want := range map[string]string{
		"http://other.example/nar/x":                                  "another host, to 'http://other.example/nar/x'",
		"https://cache.example/nar/x":                                 "another host",
		"//other.example/x":                                           "another host",
		"http://me:secret@other.example/nar/x?signature=secret\u009b": "another host, to 'http://other.example/nar/x'",
		"http://other.example/" + strings.Repeat("x", 9000):           "another host",
		"": "Moved: the region is wrong",
	} {
		for _, status := range []int{301, 302, 307, 308} {
			c := newRecorder()
			s := c.open(t, "", binarycache.HTTPOptions{})
			c.hookPuts(func(w http.ResponseWriter, r *http.Request) {
				if location != "" {
					w.Header().Set("Location", location)
				}
				w.WriteHeader(status)
				io.WriteString(w, "<Error><Code>Moved</Code><Message>the region is wrong</Message></Error>")
			})
			err := putOne(t, s, 100)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || len(err.Error()) > 1000 {
				t.Errorf("%d to %q: %v, want %q", status, location, err, want)
			}
			if got := c.requests("PUT nar/"); len(got) != 1 {
				t.Errorf("%d to %q: %q", status, location, got)
			}
			if got := c.requests("GET nar/"); got != nil {
				t.Errorf("%d to %q: %q", status, location, got)
			}
		}
	}
	c := newRecorder()
	s := c.open(t, "", binarycache.HTTPOptions{})
	c.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
		}
		return r.Method == http.MethodPut
	})
	if err := putOne(t, s, 100); err == nil || !strings.Contains(err.Error(), "10 redirects") {
		t.Errorf("a loop: %v", err)
	}
}

// Uploads have the login of the cache. Closing the store ends them, and so does the end of the context.
func TestUploadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newRecorder()
		arrived, release := make(chan string, 10), make(chan bool)
		defer close(release)
		s := open(t, "http://me:secret@cache.example", &binarycache.Options{Create: true, HTTP: binarycache.HTTPOptions{Client: listen(t, c)}})
		c.hookPuts(func(_ http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			arrived <- user + ":" + password
			<-release
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- putOneIn(ctx, s, 100) }()
		if login := <-arrived; login != "me:secret" {
			t.Errorf("the login is %q", login)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		go func() { ended <- putOneIn(t.Context(), s, 101) }()
		<-arrived
		s.Close()
		if err := <-ended; !errors.Is(err, binarycache.ErrClosed) {
			t.Error(err)
		}
	})
}

// Without the option Create, a server without nix-cache-info is no cache, and nothing is sent to it.
func TestUploadNoCache(t *testing.T) {
	c := newRecorder()
	_, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: listen(t, c)}})
	if err == nil || !strings.Contains(err.Error(), "does not appear to be a binary cache") || c.requests("PUT") != nil {
		t.Errorf("%v, %q", err, c.requests(""))
	}
}

// Uploads use HTTP/2 if the server supports it, with bodies of any size.
func TestUploadHTTP2(t *testing.T) {
	c := newRecorder()
	c.files["nix-cache-info"] = upload{body: "StoreDir: /nix/store\n"}
	var others atomic.Int32
	c.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.ProtoMajor != 2 {
			others.Add(1)
		}
		return false
	}
	server := httptest.NewUnstartedServer(c)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	s := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{})
	defer s.Close()
	for _, size := range []int{0, 100, 5 << 20} {
		if err := putOne(t, s, size); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if got := c.requests("PUT nar/"); len(got) != 3 || others.Load() != 0 {
		t.Errorf("%q, %d requests without HTTP/2", got, others.Load())
	}
	if refused := refuseByHTTP2(t, c, s); refused == nil || !strings.Contains(refused.Error(), "413") {
		t.Error(refused)
	}
}

// refuseByHTTP2 sends an archive to a server that refuses it before it reads the body.
func refuseByHTTP2(t *testing.T, c *recorder, s *binarycache.Store) error {
	c.hookPuts(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	return putOne(t, s, 6<<20)
}
