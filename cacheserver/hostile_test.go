package cacheserver_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pix/cacheserver"
	"pix/nar"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// exchange sends a text to a server, and returns the connection and the first response. It is nil if the server closes the
// connection.
func exchange(t *testing.T, srv *httptest.Server, text string) (*bufio.Reader, *http.Response) {
	t.Helper()
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute)) // a server that hangs fails the test
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	if os.IsTimeout(err) {
		t.Fatalf("the server neither answers nor closes the connection: %.60q", text)
	}
	if err != nil {
		return in, nil
	}
	return in, resp
}

// A client that announces a body and does not send it keeps neither its connection nor a place.
func TestUnsentBody(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "large", strings.Repeat("x", 100_000))
	srv := serve(t, &cacheserver.Options{MaxArchives: 1, StallTimeout: 2 * time.Second}, s)
	url := archiveURLOf(t, srv.Config.Handler, path)
	var clients sync.WaitGroup
	for _, start := range []string{"GET " + url, "HEAD " + url, "GET /nope", "POST /nix-cache-info", "DELETE " + url} {
		for _, length := range []string{"Content-Length: 10", "Content-Length: 10\r\nExpect: 100-continue", "Transfer-Encoding: chunked"} {
			clients.Go(func() {
				_, resp := exchange(t, srv, start+" HTTP/1.1\r\nHost: x\r\n"+length+"\r\n\r\n")
				if resp != nil && resp.StatusCode == http.StatusContinue {
					return // the next response is the one of the others
				}
				if resp == nil || resp.StatusCode != http.StatusRequestTimeout {
					t.Errorf("%s, %s: %v", start, length, resp)
				}
			})
		}
	}
	clients.Wait()
	if body, err := readAll(t, srv.URL+url); err != nil || len(body) < 100_000 {
		t.Errorf("another client: %d bytes, error %v", len(body), err)
	}
}

// The body of a request that needs none is skipped if it is short. The next request on the connection is answered.
func TestIgnoredBody(t *testing.T) {
	srv := serve(t, nil, memstore.New(nil))
	in, resp := exchange(t, srv, "GET /nix-cache-info HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp == nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a short body: %v", resp)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("the next request: %v, error %v", resp, err)
	}
	_, resp = exchange(t, srv, "GET /nix-cache-info HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"+strings.Repeat("x", 65<<10))
	if resp == nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("a long body: %v", resp)
	}
}

// If reading needs a token, uploads from every client need one of them, and permit nothing else.
func TestPrivateAnonymousUploads(t *testing.T) {
	const token = "a-token-for-reading"
	s := memstore.New(nil)
	path := addText(t, s, "secret", "secret")
	h := newHandler(t, &cacheserver.Options{
		ReadTokens: []string{token},
		Uploads:    &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Name: "anyone", Trusted: true}}, Dir: t.TempDir()},
	}, s)
	o := newPushed(t, "object", fileArchive("contents"), nil)
	for _, target := range []string{"/nix-cache-info", "/" + path.HashPart() + ".narinfo", "/" + path.HashPart() + ".ls", "/upload/nix-cache-info"} {
		if r := ask(h, http.MethodGet, target); r.Code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", target, r.Code)
		}
	}
	if status, _ := put(h, "", "/"+o.n.URL, o.file); status != http.StatusUnauthorized {
		t.Errorf("an upload without a token: %d", status)
	}
	if status, text := o.push(t, h, token); status != http.StatusCreated {
		t.Errorf("an upload with a token for reading: %d, %s", status, text)
	}
	if r := ask(h, http.MethodGet, "/nix-cache-info", "Authorization", "Bearer "+token); r.Code != http.StatusOK {
		t.Errorf("with a token: %d", r.Code)
	}
}

// A lateStore takes a second for each change.
type lateStore struct{ *memstore.Store }

func (s lateStore) Session(ctx context.Context) (store.Store, error) {
	session, err := s.Store.Session(ctx)
	if err != nil {
		return nil, err
	}
	return lateStore{session.(*memstore.Store)}, nil
}

func (s lateStore) AddToStoreNAR(ctx context.Context, info *store.PathInfo, contents io.Reader, opts *store.AddOptions) error {
	time.Sleep(time.Second)
	return s.Store.AddToStoreNAR(ctx, info, contents, opts)
}

func (s lateStore) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	time.Sleep(time.Second)
	return s.Store.RegisterDrvOutput(ctx, r)
}

// Of two uploaders that send different contents for one path at the same time, the second one gets an error. With equal contents, both
// succeed.
func TestRacingUploads(t *testing.T) {
	for name, c := range map[string]struct {
		contents [2]string
		want     [2]int // in any order
	}{
		"different": {[2]string{"one", "two"}, [2]int{http.StatusCreated, http.StatusConflict}},
		"equal":     {[2]string{"one", "one"}, [2]int{http.StatusCreated, http.StatusOK}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{
					Uploaders: []cacheserver.Uploader{{Name: "one", Token: testToken, Trusted: true}, {Name: "two", Token: trustedToken, Trusted: true}},
				}}, lateStore{memstore.New(nil)})
				var got [2]int
				var uploaders sync.WaitGroup
				for i, token := range []string{testToken, trustedToken} {
					o := newPushed(t, "object", fileArchive(c.contents[i]), nil)
					o.putArchive(t, h, token)
					uploaders.Go(func() { got[i], _ = o.putInfo(t, h, token) })
				}
				uploaders.Wait()
				if got != c.want && got != [2]int{c.want[1], c.want[0]} {
					t.Errorf("the statuses are %v, want %v", got, c.want)
				}
			})
		})
	}
}

// A store that panics when it opens an archive keeps no encoder.
func TestPanickingOpen(t *testing.T) {
	mem := memstore.New(nil)
	path, _ := addRandom(t, mem, 1)
	panics := true
	h := newHandler(t, &cacheserver.Options{Compress: true, CompressedDir: t.TempDir(), MaxEncoders: 1}, &damagedStore{mem, func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) {
		if panics {
			r.Close()
			panic("a store panics")
		}
		return r, nil
	}})
	url := archiveURLOf(t, h, path)
	func() {
		defer func() { recover() }()
		ask(h, http.MethodGet, url)
	}()
	panics = false
	if w := ask(h, http.MethodGet, url); w.Code != http.StatusOK {
		t.Errorf("after the panic: %d, %s", w.Code, w.Body)
	}
}

// A pacedWriter receives a number of bytes per second, and has deadlines.
type pacedWriter struct {
	*httptest.ResponseRecorder
	rate     int
	deadline time.Time
}

func (w *pacedWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	need := time.Duration(len(p)) * time.Second / time.Duration(w.rate)
	if left := time.Until(w.deadline); need > left {
		time.Sleep(max(left, 0))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(need)
	return w.ResponseRecorder.Write(p)
}

// A slowPieces returns few bytes per read, and takes some time for each.
type slowPieces struct{ io.ReadCloser }

func (r slowPieces) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return r.ReadCloser.Read(p[:min(len(p), 3000)])
}

// A client must receive 256 KiB per minute, however long the pieces are in which the server writes. The time of the store does not
// count.
func TestStallTimeout(t *testing.T) {
	dir := t.TempDir()
	for _, opts := range []*cacheserver.Options{nil, {Compress: true, CompressedDir: dir}} {
		mem := memstore.New(nil)
		path, archive := addRandom(t, mem, 1)
		before := newHandler(t, opts, mem)
		ask(before, http.MethodGet, archiveURLOf(t, before, path)) // completes the compressed file
		before.Close()
		for rate, want := range map[int]bool{3000: false, 6000: true} {
			synctest.Test(t, func(t *testing.T) {
				var s store.Store = mem
				if opts == nil {
					s = &damagedStore{mem, func(_ storepath.Path, r io.ReadCloser) (io.ReadCloser, error) { return slowPieces{r}, nil }}
				}
				h := newHandler(t, opts, s)
				url := archiveURLOf(t, h, path)
				w := &pacedWriter{ResponseRecorder: httptest.NewRecorder(), rate: rate}
				func() {
					defer func() {
						if r := recover(); r != nil && r != http.ErrAbortHandler {
							panic(r)
						}
					}()
					h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
				}()
				if got := w.Body.Len() >= len(archive); got != want {
					t.Errorf("with %d bytes per second, and %v: %d bytes of %d", rate, opts, w.Body.Len(), len(archive))
				}
			})
		}
	}
}

// A blockedWriter blocks the first write of a body until it is released.
type blockedWriter struct {
	*httptest.ResponseRecorder
	writes  *atomic.Int32
	release chan struct{}
}

func (w blockedWriter) Write(p []byte) (int, error) {
	w.writes.Add(1)
	<-w.release
	return w.ResponseRecorder.Write(p)
}

// Clients that do not read do not fill the memory with files: only as many files exist as there are places for archives.
func TestUnreadFiles(t *testing.T) {
	mem := memstore.New(nil)
	path, _ := addRandom(t, mem, 1)
	medium := addText(t, mem, "medium", strings.Repeat("0123456789", 50_000))
	ask(newHandler(t, &cacheserver.Options{Compress: true}, mem), http.MethodGet, "/nix-cache-info", "Accept-Encoding", "zstd") // creates the encoder outside of the bubbles
	for name, target := range map[string]string{
		"archive":   archiveURLOf(t, newHandler(t, nil, mem), medium),
		"listing":   "/" + path.HashPart() + ".ls",
		"directory": "/serve/" + path.HashPart(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, &cacheserver.Options{Compress: true, MaxArchives: 2}, mem)
				w := blockedWriter{writes: new(atomic.Int32), release: make(chan struct{})}
				var clients sync.WaitGroup
				for range 10 {
					clients.Go(func() {
						w := w
						w.ResponseRecorder = httptest.NewRecorder()
						r := httptest.NewRequest(http.MethodGet, target, nil)
						r.Header.Set("Accept-Encoding", "zstd")
						h.ServeHTTP(w, r)
						if w.Code != http.StatusOK {
							t.Errorf("status %d: %s", w.Code, w.Body)
						}
					})
				}
				synctest.Wait()
				if n := w.writes.Load(); n != 2 {
					t.Errorf("%d files wait for clients, want 2", n)
				}
				close(w.release)
				clients.Wait()
			})
		})
	}
}

// Names in directories of objects neither become markup nor change other lines of the page.
func TestDirectoryNames(t *testing.T) {
	names := []string{"<script>alert(1)", "a\nb", "a\u2028b", "a\u202eb", "\x1b[2J", "\"onclick=\"", "back\\slash", "javascript:alert(1)", "\xff"}
	s := memstore.New(nil)
	path, archive := storepath.Path("/nix/store/00000000000000000000000000000000-x"), directoryArchive(t, names)
	addArchive(t, s, path, archive)
	h := newHandler(t, nil, s)
	page := ask(h, http.MethodGet, "/serve/"+path.HashPart()+"/")
	body := page.Body.String()
	for _, bad := range []string{"<script", "a\nb", "\u2028", "\u202e", "\x1b", `"onclick`, `href="javascript`, "\xff"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page contains %q: %q", bad, body)
		}
	}
	if page.Header().Get("Content-Security-Policy") != "sandbox allow-downloads; default-src 'none'" {
		t.Errorf("the policy is %q", page.Header().Get("Content-Security-Policy"))
	}
	links := strings.Split(body, `<a href="./`)[1:]
	if len(links) != len(names) {
		t.Errorf("the page has %d links, want %d: %s", len(links), len(names), body)
	}
	for _, link := range links {
		href, _, _ := strings.Cut(link, `"`)
		if w := ask(h, http.MethodGet, "/serve/"+path.HashPart()+"/"+href); w.Code != http.StatusOK || w.Body.String() != "text" {
			t.Errorf("the link %q has status %d", href, w.Code)
		}
	}
}

// directoryArchive returns the archive of a directory with files.
func directoryArchive(t *testing.T, names []string) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(dir+"/"+name, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := nar.Dump(t.Context(), &b, dir, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A client of HTTP/2 that does not send a body gets an answer, too, and so do its other requests.
func TestUnsentBodyHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(newHandler(t, &cacheserver.Options{StallTimeout: 2 * time.Second}, memstore.New(nil)))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	body, stop := io.Pipe()
	defer stop.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/nix-cache-info", body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{http.StatusRequestTimeout, http.StatusOK} {
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || resp.ProtoMajor != 2 {
			t.Errorf("%s: %s, want %d", resp.Proto, resp.Status, want)
		}
		r, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/nix-cache-info", nil)
	}
}

// Two realisations of one output that are uploaded at the same time: the second one is a conflict.
func TestRacingRealisations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{
			Uploaders: []cacheserver.Uploader{{Token: testToken, Trusted: true}},
		}}, lateStore{mem})
		outputs := []storepath.Path{addText(t, mem, "one", "one"), addText(t, mem, "two", "two")}
		got := make([]int, len(outputs))
		var uploaders sync.WaitGroup
		for i, output := range outputs {
			const drv = "00000000000000000000000000000000-a.drv"
			r := store.KeyedRealisation{ID: store.DrvOutput{Path: "/nix/store/" + drv, Output: "out"}, Realisation: store.Realisation{OutPath: output}}
			text, err := r.ValueJSON(storepath.DefaultDir)
			if err != nil {
				t.Fatal(err)
			}
			uploaders.Go(func() { got[i], _ = put(h, testToken, "/build-trace-v2/"+drv+"/out.doi", text) })
		}
		uploaders.Wait()
		if got[0]+got[1] != http.StatusCreated+http.StatusConflict {
			t.Errorf("the statuses are %v", got)
		}
	})
}

// A client asks again later if the process has too many open files.
func TestTooManyFiles(t *testing.T) {
	mem := memstore.New(nil)
	path := addText(t, mem, "x", "hello")
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE} {
		s := &brokenStore{Store: mem, err: &os.PathError{Op: "open", Path: "/x", Err: err}}
		h := newHandler(t, nil, s)
		r := ask(h, http.MethodGet, archiveURLOf(t, h, path))
		if r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") == "" || strings.Contains(r.Body.String(), "/x") {
			t.Errorf("%v: %d, %v, %q", err, r.Code, r.Header(), r.Body)
		}
	}
}

// A brokenStore cannot open archives.
type brokenStore struct {
	store.Store
	err error
}

// Unwrap returns the store with all other capabilities.
func (s *brokenStore) Unwrap() store.Store { return s.Store }

func (s *brokenStore) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	return nil, s.err
}
