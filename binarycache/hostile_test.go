package binarycache_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An archive that does not match its narinfo is never read to its end: the last bytes are withheld
// until everything is verified.
func TestMismatches(t *testing.T) {
	other := nixhash.Sum(nixhash.SHA256, []byte("other"))
	tests := []struct {
		name string
		// spoil changes the narinfo, or returns another file.
		spoil func(n *narinfo.NarInfo, file string) string
		what  string // the mismatch; "" for another error
	}{
		{"NAR hash", func(n *narinfo.NarInfo, file string) string { n.NARHash = other; return file }, "NAR hash"},
		{"NAR size too small", func(n *narinfo.NarInfo, file string) string { n.NARSize--; return file }, "NAR size"},
		{"NAR size too large", func(n *narinfo.NarInfo, file string) string { n.NARSize++; return file }, "NAR size"},
		{"NAR size absurd", func(n *narinfo.NarInfo, file string) string { n.NARSize = 1<<64 - 1; return file }, "NAR size"},
		{"file hash", func(n *narinfo.NarInfo, file string) string { n.FileHash = other; return file }, "file hash"},
		{"file size too small", func(n *narinfo.NarInfo, file string) string { n.FileSize--; return file }, "file size"},
		{"file size too large", func(n *narinfo.NarInfo, file string) string { n.FileSize++; return file }, "file size"},
		{"truncated", func(n *narinfo.NarInfo, file string) string { n.FileSize = 0; return file[:len(file)-1] }, ""},
		{"empty", func(n *narinfo.NarInfo, file string) string { n.FileSize = 0; return "" }, ""},
		{"one bit", func(n *narinfo.NarInfo, file string) string {
			b := []byte(file)
			b[len(b)/2] ^= 1
			return string(b)
		}, ""},
		{"bytes behind", func(n *narinfo.NarInfo, file string) string { return file + "bytes behind" }, ""},
		{"another method", func(n *narinfo.NarInfo, file string) string {
			n.Compression = map[string]string{"none": "xz", "xz": "br", "zstd": "none", "gzip": "br", "br": "bzip2"}[n.Compression]
			return file
		}, ""},
	}
	for _, method := range []string{"none", "xz", "zstd", "gzip", "br"} {
		for _, test := range tests {
			if test.name == "NAR size absurd" && method == "none" {
				test.what = "" // the truncated file fails first
			}
			if test.name == "NAR size too small" && method == "zstd" {
				test.what = "" // the stream itself declares a larger size
			}
			f := newFake()
			n := f.put(t, "x", method, 100_000)
			f.files[n.URL] = test.spoil(n, f.files[n.URL])
			f.putNarInfo(t, n)
			c := f.open(t, binarycache.HTTPOptions{Tries: 1})
			got, err := readAll(t.Context(), c, n.Path)
			var bad *binarycache.ArchiveError
			var mismatch *binarycache.MismatchError
			if !errors.As(err, &bad) || bad.Path != n.Path || uint64(len(got)) >= n.NARSize {
				t.Errorf("%s, %s: %d bytes of %d, %v", method, test.name, len(got), n.NARSize, err)
			}
			if test.what != "" && (!errors.As(err, &mismatch) || mismatch.What != test.what) {
				t.Errorf("%s, %s: %v, want a mismatch of the %s", method, test.name, err, test.what)
			}
		}
	}
}

// A narinfo may lack the hash and the size of the file.
func TestWithoutFileHash(t *testing.T) {
	for _, method := range []string{"none", "xz", "zstd", "gzip", "br"} {
		f := newFake()
		n := f.put(t, "x", method, 10_000)
		n.FileHash, n.FileSize = nixhash.Hash{}, 0
		f.putNarInfo(t, n)
		c := f.open(t, binarycache.HTTPOptions{})
		if _, err := readAll(t.Context(), c, n.Path); err != nil {
			t.Error(err)
		}
		// The file must not be endless.
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/nar/") {
				return false
			}
			io.WriteString(w, f.files[n.URL])
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return true
				}
			}
		}
		if _, err := readAll(t.Context(), c, n.Path); err == nil {
			t.Errorf("%s: an endless file is accepted", method)
		}
	}
}

func TestUnknownMethod(t *testing.T) {
	f := newFake()
	n := f.put(t, "x", "none", 10)
	n.Compression = "lrzip"
	f.putNarInfo(t, n)
	c := f.open(t, binarycache.HTTPOptions{})
	if _, err := readAll(t.Context(), c, n.Path); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "lrzip") {
		t.Error(err)
	}
}

// gzipBomb returns 128 MiB of zeros, compressed.
var gzipBomb = sync.OnceValue(func() []byte { return gzipZeros(128) })

// gzipZeros returns the given number of MiB of zeros, compressed. The file has a gzip member for each MiB, so only one MiB
// is compressed.
func gzipZeros(mebibytes int) []byte {
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	z.Write(make([]byte, 1<<20))
	z.Close()
	return bytes.Repeat(member.Bytes(), mebibytes)
}

// A reader needs little memory, whatever the server sends.
func TestCompressionBombs(t *testing.T) {
	bomb := gzipBomb()
	// A small file that declares a large window.
	var window bytes.Buffer
	e, err := zstd.NewWriter(&window, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	e.Write([]byte("StorePath: "))
	e.Flush()
	e.Close()
	endless := func(w http.ResponseWriter, line string) {
		for {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"an endless line":  func(w http.ResponseWriter, _ *http.Request) { endless(w, strings.Repeat("x", 1<<16)) },
		"endless lines":    func(w http.ResponseWriter, _ *http.Request) { endless(w, "Key: value\n") },
		"endless headers":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 20<<20)) },
		"a gzip bomb":      func(w http.ResponseWriter, _ *http.Request) { encoded(w, "gzip", bomb) },
		"a large window":   func(w http.ResponseWriter, _ *http.Request) { encoded(w, "zstd", window.Bytes()) },
		"an odd encoding":  func(w http.ResponseWriter, _ *http.Request) { encoded(w, "sdch", nil) },
		"an endless error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); endless(w, "no ") },
		"a web page":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>log in here: please</html>\n") },
		"a lie":            func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000000") },
	}
	for name, answer := range answers {
		f := newFake()
		n := f.put(t, "x", "none", 10)
		server := httptest.NewServer(f)
		c := open(t, server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 1}})
		f.hook = func(w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true }
		before := allocated()
		if _, err := c.QueryPathInfo(t.Context(), n.Path); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		// This includes the memory of the server, which is in the same process.
		if took := allocated() - before; took > 64<<20 && name != "endless headers" {
			t.Errorf("%s: %d MiB were allocated", name, took>>20)
		}
		if _, err := binarycache.Open(t.Context(), server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 1}}); err == nil && name != "a web page" && name != "a large window" {
			t.Errorf("%s is accepted as nix-cache-info", name)
		}
		server.CloseClientConnections()
		server.Close()
	}
}

func encoded(w http.ResponseWriter, encoding string, b []byte) {
	w.Header().Set("Content-Encoding", encoding)
	w.Write(b)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Reading a bomb stops at the declared size of the archive.
func TestArchiveBomb(t *testing.T) {
	bomb := gzipBomb()
	f := newFake()
	n := f.put(t, "x", "gzip", 1000)
	n.FileSize, n.FileHash = uint64(len(bomb)), nixhash.Sum(nixhash.SHA256, bomb)
	f.files[n.URL] = string(bomb)
	f.putNarInfo(t, n)
	c := f.open(t, binarycache.HTTPOptions{})
	before := allocated()
	var mismatch *binarycache.MismatchError
	if got, err := readAll(t.Context(), c, n.Path); !errors.As(err, &mismatch) || uint64(len(got)) >= n.NARSize {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if took := allocated() - before; took > 8<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
}

// Long lines and many references are not an error.
func TestLongNarInfo(t *testing.T) {
	f := newFake()
	n := f.put(t, "x", "none", 10)
	n.Unknown = []narinfo.Field{{Key: "Long", Value: strings.Repeat("x", 64<<10)}}
	for range 5000 {
		n.References = append(n.References, n.Path)
	}
	f.putNarInfo(t, n)
	c := f.open(t, binarycache.HTTPOptions{})
	got, err := c.NarInfo(t.Context(), n.Path)
	if err != nil || len(got.Unknown[0].Value) != 64<<10 {
		t.Error(err)
	}
}

func TestOtherPaths(t *testing.T) {
	f := newFake()
	n := f.put(t, "x", "none", 10)
	other := f.put(t, "y", "none", 11)
	c := f.open(t, binarycache.HTTPOptions{})
	// A narinfo of the same hash part with another name means "not found", as in Nix.
	renamed, err := storepath.DefaultDir.ParseBase(n.Path.HashPart() + "-other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.QueryPathInfo(t.Context(), renamed); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	// Another hash part is an error.
	f.files[narinfo.FileName(other.Path)] = f.files[narinfo.FileName(n.Path)]
	if _, err := c.QueryPathInfo(t.Context(), other.Path); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), string(n.Path)) {
		t.Error(err)
	}
	if _, err := c.QueryPathFromHashPart(t.Context(), other.Path.HashPart()); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	for _, bad := range []string{"", "x", strings.Repeat("e", 32), "../../../../../../etc/passwd0000", strings.Repeat("0", 33)} {
		if _, err := c.QueryPathFromHashPart(t.Context(), bad); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("hash part %q: %v", bad, err)
		}
	}
	if _, err := c.QueryPathInfo(t.Context(), "/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// The URL of a narinfo is resolved as in Nix, and passwords are sent only to the hosts for which they are meant.
func TestArchiveURLs(t *testing.T) {
	text := fileNAR(noise(10))
	var elsewhere atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Store(r.Header.Get("Authorization"))
		io.WriteString(w, text)
	}))
	defer other.Close()
	f := newFake()
	n := f.put(t, "x", "none", 10)
	var mu sync.Mutex
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.RequestURI()] = true
		mu.Unlock()
		name, password, _ := r.BasicAuth()
		switch {
		case name != "me" || password != "secret":
			http.Error(w, "who?", 401)
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case r.URL.Path == "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case strings.Contains(r.URL.Path, "nix-cache-info"), strings.Contains(r.URL.Path, "narinfo"):
			io.WriteString(w, f.files[filepath.Base(r.URL.Path)])
		default:
			io.WriteString(w, text)
		}
	}))
	defer server.Close()
	withPassword := strings.Replace(server.URL, "://", "://me:secret@", 1) + "/a/cache"
	netrc := filepath.Join(t.TempDir(), "netrc")
	write(t, netrc, "machine elsewhere login x password y\n# a comment\nmachine 127.0.0.1\n  login me password secret\nmacdef m\nmachine z\n\ndefault login d password d")
	for _, test := range []struct {
		ref, want string // request, or part of the error
		fails     bool
	}{
		{"nar/x", "/a/cache/nar/x", false},
		{"nar/x?hash=abc", "/a/cache/nar/x?hash=abc", false},
		{"../x", "/a/x", false},
		{"/x", "/x", false},
		{server.URL + "/whole", "/whole", true}, // a URL without a login gets no password
		{other.URL + "/there", "", false},
		{"/away", "/away", false},
		{"/loop", "redirect", true},
		{"file:///etc/passwd", "not an HTTP URL", true},
		{"ftp://x/y", "not an HTTP URL", true},
		{"http:///y", "not an HTTP URL", true},
		{"a b%zz", "invalid URL escape", true},
	} {
		n.URL = test.ref
		f.putNarInfo(t, n)
		for _, way := range []string{"url", "netrc"} {
			uri, opts := withPassword, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 3}}
			if way == "netrc" {
				uri, opts.HTTP.Netrc = server.URL+"/a/cache/", netrc
			}
			c := open(t, uri, opts)
			if strings.Contains(c.URI(), "secret") {
				t.Error(c.URI())
			}
			elsewhere.Store("")
			_, err := readAll(t.Context(), c, n.Path)
			fails := test.fails && (way == "url" || test.want != "/whole")
			if fails != (err != nil) {
				t.Errorf("%s, %s: %v", way, test.ref, err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || test.want[0] != '/' && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s, %s: %v, want %q", way, test.ref, err, test.want)
			}
			if err == nil && test.want != "" && !asked[test.want] {
				t.Errorf("%s, %s: requested %v, want %s", way, test.ref, asked, test.want)
			}
			if a := elsewhere.Load(); a != "" && way == "url" {
				t.Errorf("%s, %s: another server got %s", way, test.ref, a)
			}
			clear(asked)
		}
	}
}

// With HTTP/2 there is one connection, however many requests run at once.
func TestHTTP2(t *testing.T) {
	testenv.NoLeak(t)
	f := newFake()
	var paths []storepath.Path
	for i := range 200 {
		paths = append(paths, f.put(t, fmt.Sprintf("x%d", i), "zstd", 1000).Path)
	}
	var protocol, addresses sync.Map
	var now, most atomic.Int64
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		protocol.Store(r.Proto, true)
		addresses.Store(r.RemoteAddr, true)
		runtime.Gosched()
		return false
	}
	server := httptest.NewUnstartedServer(f)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	if _, err := binarycache.Open(t.Context(), server.URL, nil); err == nil || !strings.Contains(err.Error(), "certificate") || f.requests("") != 0 {
		t.Errorf("an unknown certificate: %v", err)
	}
	c := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{})
	defer c.Close()
	valid, err := c.QueryValidPaths(t.Context(), paths, false)
	if err != nil || len(valid) != len(paths) {
		t.Fatal(len(valid), err)
	}
	for _, p := range paths {
		if _, err := readAll(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	addresses.Range(func(any, any) bool { count++; return true })
	if _, ok := protocol.Load("HTTP/2.0"); !ok || count > 2 {
		t.Errorf("%d connections", count)
	}
	if n := most.Load(); n > 40 {
		t.Errorf("%d requests at once", n)
	}
}

// Copying an archive from a server to another cache takes little memory, even for a large archive. It is not
// compressed, because the encoder of zstd holds some frames of 16 MiB.
func TestStreamedArchive(t *testing.T) {
	const size = 64 << 20
	source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{9}), size) }
	writeNAR := func(w io.Writer) {
		archive := nar.NewWriter(w)
		archive.WriteEntry(nar.Entry{Kind: nar.Regular, Size: size})
		io.Copy(archive, source())
		archive.Close()
	}
	h := nar.NewHasher(nixhash.SHA256)
	writeNAR(h)
	f := newFake()
	n := f.put(t, "large", "none", 10)
	n.FileHash, n.FileSize, n.NARHash, n.NARSize = h.Hash(), h.Size(), h.Hash(), h.Size()
	f.putNarInfo(t, n)
	var peak atomic.Uint64
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/nar/") {
			return false
		}
		runtime.GC()
		writeNAR(&sampler{w: w, peak: &peak})
		return true
	}
	server := httptest.NewServer(f)
	defer server.Close()
	c := open(t, server.URL, nil)
	dst := open(t, "file://"+t.TempDir()+"?compression=none", nil)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := store.Copy(t.Context(), dst, c, []storepath.Path{n.Path}, nil); err != nil {
		t.Fatal(err)
	}
	if valid, err := dst.IsValidPath(t.Context(), n.Path); !valid || err != nil {
		t.Error(valid, err)
	}
	if took := int64(peak.Load()) - int64(before.HeapAlloc); took > 32<<20 || peak.Load() == 0 {
		t.Errorf("%d MiB were used for an archive of %d MiB", took>>20, size>>20)
	}
}

// A sampler samples the memory in use while something is written.
type sampler struct {
	w     io.Writer
	peak  *atomic.Uint64
	count int
}

func (s *sampler) Write(p []byte) (int, error) {
	if s.count++; s.count%100 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s.peak.Store(max(s.peak.Load(), m.HeapAlloc))
	}
	return s.w.Write(p)
}
