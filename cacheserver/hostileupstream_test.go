package cacheserver_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// A hostileUpstream is an HTTP server with the files of a cache.
type hostileUpstream struct {
	files map[string][]byte // by path
	// answers replace files.
	answers map[string]http.HandlerFunc
}

func (u *hostileUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := u.answers[r.URL.Path]; answer != nil {
		answer(w, r)
		return
	}
	body, ok := u.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(body)
}

// add adds the files of an object.
func (u *hostileUpstream) add(t *testing.T, o *pushed) {
	t.Helper()
	text, err := o.n.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	u.files["/"+narinfo.FileName(o.n.Path)] = text
	if _, ok := u.files["/"+o.n.URL]; !ok {
		u.files["/"+o.n.URL] = o.file
	}
}

const webPage = "<html><script>alert(1)</script></html>\n"

// An upstreamFault changes an object that is signed by a trusted key, or the answers about it. absent says that the narinfo must
// have the status 404, and not 502.
type upstreamFault struct {
	absent bool
	spoil  func(u *hostileUpstream, o *pushed, key signature.SecretKey)
}

// signAgain replaces the signatures.
func signAgain(o *pushed, key signature.SecretKey) {
	o.n.Signatures = nil
	if err := o.n.Sign(key); err != nil {
		panic(err)
	}
}

// noFault is the name of a fault that changes nothing.
const noFault = "none"

// upstreamFaults returns faults by name. No request may reach the server elsewhere.
func upstreamFaults(elsewhere string) map[string]upstreamFault {
	replaceInfo := func(answer http.HandlerFunc) upstreamFault {
		return upstreamFault{spoil: func(u *hostileUpstream, o *pushed, _ signature.SecretKey) {
			u.answers["/"+narinfo.FileName(o.n.Path)] = answer
		}}
	}
	replaceArchive := func(answer http.HandlerFunc) upstreamFault {
		return upstreamFault{spoil: func(u *hostileUpstream, o *pushed, _ signature.SecretKey) { u.answers["/"+o.n.URL] = answer }}
	}
	file := func(change func(file []byte) []byte) upstreamFault {
		return upstreamFault{spoil: func(u *hostileUpstream, o *pushed, _ signature.SecretKey) {
			o.file = change(bytes.Clone(o.file))
			o.n.FileHash, o.n.FileSize = nixhash.Sum(nixhash.SHA256, o.file), uint64(len(o.file))
		}}
	}
	signed := func(change func(n *narinfo.NarInfo)) upstreamFault {
		return upstreamFault{spoil: func(_ *hostileUpstream, o *pushed, key signature.SecretKey) { change(o.n); signAgain(o, key) }}
	}
	zeros := make([]byte, 2<<20)
	bomb, infoBomb := mustEncode("xz", zeros), mustEncode("gzip", zeros) // once, because compressing them is slow
	faults := map[string]upstreamFault{
		noFault:         {spoil: func(*hostileUpstream, *pushed, signature.SecretKey) {}},
		"bit":           file(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }),
		"garbage":       file(func(b []byte) []byte { return bytes.Repeat([]byte("garbage"), 1000) }),
		"web page":      file(func([]byte) []byte { return []byte(webPage) }),
		"empty":         file(func([]byte) []byte { return nil }),
		"other archive": file(func([]byte) []byte { return mustEncode("xz", fileArchive("other contents")) }),
		"bomb":          file(func([]byte) []byte { return bomb }),
		"file hash":     {spoil: func(_ *hostileUpstream, o *pushed, _ signature.SecretKey) { o.n.FileHash = o.n.NARHash }},
		"NAR hash":      signed(func(n *narinfo.NarInfo) { n.NARHash = nixhash.Sum(nixhash.SHA256, nil) }),
		"unsigned NAR hash": {absent: true, spoil: func(_ *hostileUpstream, o *pushed, _ signature.SecretKey) {
			o.n.NARHash = nixhash.Sum(nixhash.SHA256, nil)
		}},
		"signature of other references": {absent: true, spoil: func(_ *hostileUpstream, o *pushed, _ signature.SecretKey) {
			o.n.References = []storepath.Path{o.n.Path}
		}},
		"other path": {spoil: func(u *hostileUpstream, o *pushed, key signature.SecretKey) {
			other := *o.n
			other.Path = "/nix/store/00000000000000000000000000000000-other"
			other.Sign(key)
			text, _ := other.MarshalText()
			u.answers["/"+narinfo.FileName(o.n.Path)] = func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }
		}},
		"other name": {absent: true, spoil: func(_ *hostileUpstream, o *pushed, _ signature.SecretKey) { o.n.Path += "x" }},
		"info is a web page": replaceInfo(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, webPage)
		}),
		"endless info": replaceInfo(func(w http.ResponseWriter, r *http.Request) { sendEndlessly(w, r, "Key: value\n") }),
		"info is a bomb": replaceInfo(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(infoBomb)
		}),
		"endless archive": replaceArchive(func(w http.ResponseWriter, r *http.Request) { sendEndlessly(w, r, "garbage") }),
		"cut": replaceArchive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write(make([]byte, 50))
			panic(http.ErrAbortHandler)
		}),
		"redirect": replaceArchive(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }),
	}
	for _, size := range []uint64{1, math.MaxInt64 - 1<<10, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		faults[fmt.Sprint("NAR size ", size)] = signed(func(n *narinfo.NarInfo) { n.NARSize = size })
	}
	for _, url := range []string{elsewhere + "/x", "//" + strings.TrimPrefix(elsewhere, "http://") + "/x", "file:///etc/passwd", "../../etc/passwd", "nar/%2e%2e/x", "nar/\x01", "?x", "#x"} {
		faults["URL "+url] = upstreamFault{spoil: func(u *hostileUpstream, o *pushed, _ signature.SecretKey) { o.n.URL = url }}
	}
	return faults
}

// mustEncode compresses contents.
func mustEncode(method string, contents []byte) []byte {
	b, err := compress(method, contents)
	if err != nil {
		panic(err)
	}
	return b
}

// sendEndlessly repeats a text until the client leaves.
func sendEndlessly(w http.ResponseWriter, r *http.Request, text string) {
	piece := []byte(strings.Repeat(text, 1000))
	for r.Context().Err() == nil {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// Whatever an upstream cache sends, a client gets no complete archive but the right one, nothing wrong is kept, no other host gets a
// request, and other paths are still served.
func TestHostileUpstreams(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	key := newKey(t, "test-1")
	for name, fault := range upstreamFaults(other.URL) {
		for _, keeps := range []bool{false, true} {
			hostile := &hostileUpstream{files: make(map[string][]byte), answers: make(map[string]http.HandlerFunc)}
			hostile.files["/nix-cache-info"] = []byte("StoreDir: /nix/store\n")
			good := newPushed(t, "good", fileArchive("good"), nil, key)
			hostile.add(t, good)
			spoiled := newPushed(t, "spoiled", fileArchive(strings.Repeat("contents", 1000)), nil, key)
			path, right := spoiled.n.Path, spoiled.n.NARHash
			fault.spoil(hostile, spoiled, key)
			hostile.add(t, spoiled)
			from := httptest.NewServer(hostile)
			src, err := binarycache.Open(t.Context(), from.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: true, Tries: 1}})
			if err != nil {
				t.Fatal(err)
			}
			opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}
			if keeps {
				opts.Dir = t.TempDir()
			}
			u := newUpstream(t, src, opts)
			srv := serve(t, nil, u)

			info := ask(srv.Config.Handler, http.MethodGet, "/"+narinfo.FileName(path))
			if fault.absent && info.Code != http.StatusNotFound {
				t.Errorf("%s: the narinfo has status %d: %s", name, info.Code, info.Body)
			}
			url := "/nar/" + path.HashPart() + "-" + right.Nix32() + ".nar"
			if n, err := narinfo.Parse(info.Body.String(), nil); info.Code == http.StatusOK && err == nil {
				url = "/" + n.URL
			}
			body, complete := download(t, srv.URL+url, "")
			if name == noFault && !complete {
				t.Error("the right archive is incomplete")
			}
			if complete && nixhash.Sum(nixhash.SHA256, body) != right {
				t.Errorf("%s: a complete response of %d bytes: %.100q", name, len(body), body)
			}
			if body, complete := download(t, srv.URL+archiveURLOf(t, srv.Config.Handler, good.n.Path), ""); !complete || !bytes.Equal(body, fileArchive("good")) {
				t.Errorf("%s: the other path: complete is %t, %q", name, complete, body)
			}
			srv.CloseClientConnections()
			u.Close() // waits for fetches
			from.CloseClientConnections()
			from.Close()
			if keeps && len(fetchedNames(t, opts.Dir)) != 1 && !complete {
				t.Errorf("%s: the directory has %q", name, fetchedNames(t, opts.Dir))
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

// Listings of an upstream cache are parsed and printed again, logs are sent as text, and pages in objects run no scripts.
func TestUpstreamScripts(t *testing.T) {
	key := newKey(t, "test-1")
	hostile := &hostileUpstream{files: map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}}
	o := newPushed(t, "page.html", fileArchive(webPage), nil, key)
	hostile.add(t, o)
	const log = "/log/00000000000000000000000000000000-x.drv"
	hostile.files["/"+o.n.Path.HashPart()+".ls"] = []byte(webPage)
	hostile.files[log] = []byte(webPage)
	from := httptest.NewServer(hostile)
	defer from.Close()
	src, err := binarycache.Open(t.Context(), from.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, nil, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}))
	if r := ask(h, http.MethodGet, "/"+o.n.Path.HashPart()+".ls"); strings.Contains(r.Body.String(), "<") || r.Header().Get("Content-Type") != "application/json" && r.Code == http.StatusOK {
		t.Errorf("the listing: %d, %v, %s", r.Code, r.Header(), r.Body)
	}
	for _, target := range []string{log, "/serve/" + o.n.Path.HashPart()} {
		r := ask(h, http.MethodGet, target)
		header := r.Header()
		if r.Code != http.StatusOK || r.Body.String() != webPage || header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(header.Get("Content-Security-Policy"), "sandbox") || strings.Contains(header.Get("Content-Type"), "html") {
			t.Errorf("%s: %d, %v, %q", target, r.Code, header, r.Body)
		}
	}
}
