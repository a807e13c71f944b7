package cacheserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A binary cache in a directory checks neither signatures nor content addresses, so the server does.
func TestPushToDirectory(t *testing.T) {
	key := newKey(t, "test-1")
	dst, err := binarycache.Open(t.Context(), "file://"+t.TempDir()+"?compression=none", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	h := newHandler(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(key.Public()),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, dst)
	push := func(o *pushed, want int, what string) {
		t.Helper()
		if status, text := o.push(t, h, testToken); status != want {
			t.Errorf("%s: got %d, %s; want %d", what, status, text, want)
		}
		if valid, err := dst.IsValidPath(t.Context(), o.n.Path); err != nil || valid != (want == http.StatusCreated) {
			t.Errorf("%s: visible is %t, error %v", what, valid, err)
		}
	}
	push(newPushed(t, "unsigned", fileArchive("unsigned"), nil), http.StatusForbidden, "an unsigned object")
	push(newPushed(t, "signed", fileArchive("signed"), nil, key), http.StatusCreated, "a signed object")

	src := memstore.New(nil)
	path := addText(t, src, "text", "contents")
	info, err := src.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	forged := newPushed(t, "text", fileArchive("other contents"), nil)
	forged.n.Path, forged.n.CA = path, info.CA
	push(forged, http.StatusUnprocessableEntity, "a content address of other contents")
	right := newPushed(t, "text", fileArchive("contents"), nil)
	right.n.Path, right.n.CA = path, info.CA
	push(right, http.StatusCreated, "a content-addressed object")

	// The hash of an object with a self-reference may be the one of other contents, too.
	self := newPushed(t, "self", fileArchive("contents"), nil)
	self.n.CA, err = storepath.NewContentAddress(storepath.NAR, self.n.NARHash)
	if err == nil {
		self.n.Path, err = storepath.DefaultDir.FixedOutputPath("self", self.n.CA, storepath.References{Self: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	self.n.References = []storepath.Path{self.n.Path}
	push(self, http.StatusForbidden, "an object with a weak content address")
}

// Build logs need a trusted uploader. A log never replaces another one, and is bounded.
func TestPushLogs(t *testing.T) {
	dst := openLocal(t)
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{
		Uploaders: []cacheserver.Uploader{{Token: testToken}, {Token: trustedToken, Trusted: true}}, Dir: t.TempDir(), MaxLog: 1000,
	}}, dst)
	name := "/log/00000000000000000000000000000000-x.drv"
	for _, test := range []struct {
		token, target, log string
		coding             string
		want               int
	}{
		{testToken, name, "log\n", "", 403},
		{trustedToken, "/log/00000000000000000000000000000000-x", "log\n", "", 422},
		{trustedToken, "/log/..%2f00000000000000000000000000000000-x.drv", "log\n", "", 404},
		{trustedToken, name, strings.Repeat("x", 1001), "", 413},
		{trustedToken, name, strings.Repeat("x", 100_000), "br", 413},
		{trustedToken, name, "<script>alert(1)</script>\n", "br", 201},
		{trustedToken, name, "<script>alert(1)</script>\n", "", 200},
		{trustedToken, name, "another log\n", "", 409},
		{trustedToken, name, "<script>alert(1)</script>\nmore", "", 409},
	} {
		body := []byte(test.log)
		if test.coding != "" {
			body = encode(t, test.coding, body)
		}
		if status, text := put(h, test.token, test.target, body, "Content-Encoding", test.coding); status != test.want {
			t.Errorf("%s, %.30q: got %d, %s; want %d", test.target, test.log, status, text, test.want)
		}
	}
	r := ask(h, http.MethodGet, name)
	if r.Body.String() != "<script>alert(1)</script>\n" || !strings.HasPrefix(r.Header().Get("Content-Type"), "text/plain") ||
		r.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(r.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the log is %q, with the header %v", r.Body, r.Header())
	}
}

// A client that waits for "100 Continue" sends no body if it has no token. A client that stops sending is cut off.
func TestSlowUpload(t *testing.T) {
	o := newPushed(t, "object", fileArchive("contents"), nil)
	h := newHandler(t, &cacheserver.Options{
		StallTimeout: 4 * time.Second,
		Uploads:      &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken, Trusted: true}}, Dir: t.TempDir()},
	}, memstore.New(nil))
	srv := httptest.NewServer(h)
	defer srv.Close()
	exchange := func(login, body string) string {
		t.Helper()
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "PUT /%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n%s\r\n%s", o.n.URL, len(o.file), login, body)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	if got := exchange("", ""); got != "HTTP/1.1 401 Unauthorized" {
		t.Errorf("without a token: %q", got)
	}
	if got := exchange("Authorization: Bearer "+testToken+"\r\n", ""); got != "HTTP/1.1 100 Continue" {
		t.Errorf("with a token: %q", got)
	}
	var clients sync.WaitGroup
	for login, want := range map[string]int{"Bearer " + testToken: http.StatusRequestTimeout, "": http.StatusUnauthorized} {
		clients.Go(func() {
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "PUT /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nAuthorization: %s\r\n\r\n", o.n.URL, len(o.file), login)
			c.Write(o.file[:10])
			resp, err := http.ReadResponse(bufio.NewReader(c), nil) // comes although the rest of the body does not
			if err != nil {
				t.Errorf("a slow client: %v, want %d", err, want)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("a slow client: %d, want %d", resp.StatusCode, want)
			}
		})
	}
	clients.Wait()
}

// References that only another store has are not enough, and the server says what to do.
func TestPushReferenceElsewhere(t *testing.T) {
	second := memstore.New(nil)
	dep := addText(t, second, "dep", "dep")
	first := memstore.New(nil)
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken, Trusted: true}}, Dir: t.TempDir()}}, first, second)
	o := newPushed(t, "top", fileArchive("top"), []storepath.Path{dep})
	if status, text := o.push(t, h, testToken); status != http.StatusUnprocessableEntity || !strings.Contains(text, "/upload") {
		t.Errorf("got %d, %s", status, text)
	}
	if _, err := store.Copy(t.Context(), first, second, []storepath.Path{dep}, nil); err != nil {
		t.Fatal(err)
	}
	if status, text := o.push(t, h, testToken); status != http.StatusCreated {
		t.Errorf("with the reference: %d, %s", status, text)
	}
}

// Wrong options are errors, which do not contain a token.
func TestUploadOptions(t *testing.T) {
	readOnly, err := cacheserver.NewUpstream(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	for name, test := range map[string]struct {
		store     store.Store
		uploaders []cacheserver.Uploader
	}{
		"no uploader":     {memstore.New(nil), nil},
		"a short token":   {memstore.New(nil), []cacheserver.Uploader{{Token: "short"}}},
		"equal tokens":    {memstore.New(nil), []cacheserver.Uploader{{Token: testToken}, {Name: "x", Token: testToken}}},
		"read-only store": {readOnly, []cacheserver.Uploader{{Token: testToken}}},
	} {
		h, err := cacheserver.New([]store.Store{test.store}, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: test.uploaders, Dir: t.TempDir()}})
		if err == nil {
			h.Close()
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "short") && name != "a short token" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
