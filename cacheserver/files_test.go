package cacheserver_test

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

const treePath storepath.Path = "/nix/store/00000000000000000000000000000000-tree"

// addTree adds an object with files of all kinds.
func addTree(t *testing.T, s store.Store, target storepath.Path) {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	file := func(depth int, name, contents string) {
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: depth, Name: name, Size: uint64(len(contents))})
		w.Write([]byte(contents))
	}
	link := func(depth int, name, target string) {
		w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: depth, Name: name, Target: target})
	}
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	file(1, "a <b>&\"c\" %2f?#", "odd")
	file(1, "binary", "\x7fELF\x00\x01")
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "dir"})
	file(2, "empty", "")
	file(2, "page.html", "<script>alert(1)</script>")
	link(2, "up", "../text")
	link(1, "link", "dir")
	link(1, "loop", "loop")
	link(1, "other", string(target))
	link(1, "out", "../../../etc/passwd")
	link(1, "passwd", "/etc/passwd")
	file(1, "text", "hello world\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	addArchive(t, s, treePath, b.Bytes())
}

// Files are served as what they are, and nothing in them is executed by a browser.
func TestFiles(t *testing.T) {
	s := memstore.New(nil)
	other := addText(t, s, "other", "elsewhere")
	addTree(t, s, other)
	h := newHandler(t, nil, s)
	root := "/serve/" + treePath.HashPart()
	for _, c := range []struct {
		path   string
		status int
		want   string // the body, or the path to which the client is sent
		typ    string
	}{
		{"/text", 200, "hello world\n", "text/plain; charset=utf-8"},
		{"/dir/page.html", 200, "<script>alert(1)</script>", "text/plain; charset=utf-8"},
		{"/binary", 200, "\x7fELF\x00\x01", "application/octet-stream"},
		{"/dir/empty", 200, "", "text/plain; charset=utf-8"},
		{"/" + url.PathEscape("a <b>&\"c\" %2f?#"), 200, "odd", "text/plain; charset=utf-8"},
		{"", 302, root + "/", ""}, {"/dir", 302, root + "/dir/", ""},
		{"/link", 302, root + "/dir", ""}, {"/link/", 302, root + "/dir", ""}, {"/link/page.html", 302, root + "/dir/page.html", ""},
		{"/dir/up", 302, root + "/text", ""}, {"/loop", 302, root + "/loop", ""}, {"/other", 302, "/serve/" + other.HashPart(), ""},
		{"/passwd", 404, "", ""}, {"/out", 404, "", ""}, {"/nope", 404, "", ""}, {"/text/", 404, "", ""}, {"/text/x", 404, "", ""}, {"/dir/..", 404, "", ""},
	} {
		w := ask(h, "GET", root+c.path)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.path, w.Code, c.status, w.Body)
			continue
		}
		switch c.status {
		case 200:
			if w.Body.String() != c.want || w.Header().Get("Content-Type") != c.typ {
				t.Errorf("%s: %q, %s", c.path, w.Body, w.Header().Get("Content-Type"))
			}
			if isAttachment := strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment"); isAttachment != (c.path == "/binary") {
				t.Errorf("%s: Content-Disposition is %q", c.path, w.Header().Get("Content-Disposition"))
			}
		case 302:
			location, err := url.Parse(w.Header().Get("Location"))
			if base, _ := url.Parse(root + c.path); err != nil || base.ResolveReference(location).Path != c.want {
				t.Errorf("%s: sent to %s, want %s", c.path, w.Header().Get("Location"), c.want)
			}
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", c.path, w.Header())
		}
	}
	page := ask(h, "GET", root+"/").Body.String()
	if strings.Contains(page, "<b>") || !strings.Contains(page, `href="./dir/"`) || !strings.Contains(page, `href="./a%20%3Cb%3E`) {
		t.Errorf("the page is %s", page)
	}
	if w := ask(h, "GET", root+"/text", "Range", "bytes=6-"); w.Code != 206 || w.Body.String() != "world\n" {
		t.Errorf("a part has status %d: %s", w.Code, w.Body)
	}
}

// A listing has the offset of each file in the archive.
func TestListing(t *testing.T) {
	s := memstore.New(nil)
	addTree(t, s, addText(t, s, "other", "elsewhere"))
	h := newHandler(t, nil, s)
	listing, err := nar.ParseLS(ask(h, "GET", "/"+treePath.HashPart()+".ls").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	archive := ask(h, "GET", "/"+narInfoOf(t, h, treePath).URL).Body.String()
	for name, contents := range map[string]string{"text": "hello world\n", "dir/page.html": "<script>alert(1)</script>"} {
		file := listing.Lookup(name)
		if file == nil || archive[file.Offset:file.Offset+int64(file.Size)] != contents {
			t.Errorf("%s: %+v", name, file)
		}
	}
}

// Logs and realisations are in the cache in all forms, and realisations of outputs that the store built itself are signed.
func TestLogsAndRealisations(t *testing.T) {
	ctx := t.Context()
	s := memstore.New(nil)
	const drv storepath.Path = "/nix/store/00000000000000000000000000000000-x.drv"
	out := addText(t, s, "out", "made")
	for _, size := range []int{100, 1 << 20} {
		log := strings.Repeat("x", size)
		drv := storepath.Path(strings.Replace(string(drv), "-x", "-"+strings.Repeat("y", size%97+1), 1))
		if err := store.AddBuildLog(ctx, s, drv, strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		h := newHandler(t, nil, s)
		w := ask(h, "GET", "/log/"+drv.Base())
		if w.Body.String() != log || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("a log of %d bytes has %d: %v", size, w.Body.Len(), w.Header())
		}
	}
	key := newKey(t, "test-1")
	hash := nixhash.Sum(nixhash.SHA256, []byte("x"))
	var gone storepath.Path
	if err := store.InSession(ctx, s, func(s store.Store) (err error) { // its temporary root ends with the session
		gone, err = store.AddText(ctx, s, "gone", "gone", nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	deleted := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Output: "gone"}, Realisation: store.Realisation{OutPath: gone}}
	known := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Path: drv, Output: "out"}, Realisation: store.Realisation{OutPath: out}}
	for _, r := range []store.KeyedRealisation{deleted, known} {
		if err := store.RegisterRealisation(ctx, s, r); err != nil {
			t.Fatalf("%s: %v", r.ID.Output, err)
		}
	}
	if _, err := store.CollectGarbage(ctx, s, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{deleted.OutPath}, MaxFreed: math.MaxUint64}); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, s)
	old, err := store.ParseRealisationJSON(storepath.DefaultDir, ask(h, "GET", "/realisations/"+known.ID.HashID()+".doi").Body.String())
	if err != nil || old.OutPath != out {
		t.Errorf("%+v, %v", old, err)
	}
	if len(old.Signatures) != 0 {
		t.Errorf("a realisation for which the store does not vouch has the signatures %v", old.Signatures)
	}
	trace, err := store.ParseValueJSON(storepath.DefaultDir, ask(h, "GET", "/build-trace-v2/"+drv.Base()+"/out.doi").Body.String())
	if err != nil || trace.OutPath != out {
		t.Errorf("%+v, %v", trace, err)
	}
	for _, target := range []string{"/realisations/" + deleted.ID.HashID() + ".doi", "/build-trace-v2/" + drv.Base() + "/other.doi", "/log/" + path.Base(string(out))} {
		if w := ask(h, "GET", target); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", target, w.Code)
		}
	}
}

// A handler below a prefix, with TLS and HTTP/2.
func TestPrefixAndHTTP2(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", strings.Repeat("hello", 100_000))
	h := newHandler(t, nil, s)
	srv := httptest.NewUnstartedServer(http.StripPrefix("/cache", h))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + "/cache/" + narInfoOf(t, h, path).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || resp.ProtoMajor != 2 || !bytes.Equal(body.Bytes(), fileArchive(strings.Repeat("hello", 100_000))) {
		t.Errorf("%s: %d bytes, %v", resp.Proto, body.Len(), err)
	}
}
