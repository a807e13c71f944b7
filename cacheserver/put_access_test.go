package cacheserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/cacheserver"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store/memstore"
)

func TestUploadAccess(t *testing.T) {
	w := newPushWorld(t, nil)
	unsigned := newPushed(t, "unsigned", fileArchive("contents"), nil)
	if status, text := unsigned.push(t, w.h, testToken); status != http.StatusForbidden {
		t.Errorf("an unsigned object of an untrusted uploader: %d, %s", status, text)
	}
	if status, text := unsigned.push(t, w.h, trustedToken); status != http.StatusCreated {
		t.Errorf("an unsigned object of a trusted uploader: %d, %s", status, text)
	}
	body := &countingBody{Reader: strings.NewReader("body")}
	for token, want := range map[string]int{"": 401, "a-wrong-token-of-someone": 401} {
		r := httptest.NewRequest(http.MethodPut, "/"+unsigned.n.URL, body)
		r.SetBasicAuth("nix", token)
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code != want || rec.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("token %q: %d, header %v", token, rec.Code, rec.Header())
		}
	}
	if body.reads != 0 {
		t.Error("the body of a client without a token was read")
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPatch} {
		if r := ask(w.h, method, "/"+unsigned.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD, PUT" {
			t.Errorf("%s: %d, Allow %q", method, r.Code, r.Header().Get("Allow"))
		}
	}
	readOnly := newHandler(t, &cacheserver.Options{ReadTokens: []string{"a-token-for-reading"}}, memstore.New(nil))
	if status, _ := put(readOnly, "a-token-for-reading", "/nix-cache-info", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("a server without uploads: %d", status)
	}
	private := newHandler(t, &cacheserver.Options{
		ReadTokens: []string{"a-token-for-reading"},
		Uploads:    &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, memstore.New(nil))
	if status, _ := put(private, "a-token-for-reading", "/nix-cache-info", nil); status != http.StatusForbidden {
		t.Errorf("a token for reading: %d", status)
	}
	if r := ask(private, http.MethodGet, "/nix-cache-info", "Authorization", "Bearer "+testToken); r.Code != http.StatusOK {
		t.Errorf("reading with the token of an uploader: %d", r.Code)
	}
}

// A countingBody counts its reads.
type countingBody struct {
	io.Reader
	reads int
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.reads++
	return b.Reader.Read(p)
}

func TestUploadCodings(t *testing.T) {
	w := newPushWorld(t, nil)
	for _, method := range []string{"br", "zstd", "gzip", "xz"} {
		o := newPushed(t, "object-"+method, fileArchive(method), nil, w.key)
		o.putArchive(t, w.h, testToken)
		text, err := o.n.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), encode(t, method, text), "Content-Encoding", method); status != http.StatusCreated {
			t.Errorf("%s: %d, %s", method, status, text)
		}
		bomb := encode(t, method, make([]byte, 1<<20+1))
		if status, text := put(w.h, testToken, "/nix-cache-info", bomb, "Content-Encoding", method); status != http.StatusRequestEntityTooLarge && status != http.StatusUnprocessableEntity {
			t.Errorf("%s, 1 MiB: %d, %s", method, status, text)
		}
	}
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	for _, coding := range []string{"deflate", "br, gzip", "aws-chunked"} {
		if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), nil, "Content-Encoding", coding); status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d, %s", coding, status, text)
		}
	}
	if status, text := put(w.h, testToken, "/"+o.n.URL, o.file, "Content-Encoding", "gzip"); status != http.StatusUnsupportedMediaType {
		t.Errorf("an archive with a coding: %d, %s", status, text)
	}
	if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), []byte("not br"), "Content-Encoding", "br"); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong coding: %d, %s", status, text)
	}
}

// The quota of an uploader bounds what waits for narinfos.
func TestUploadLimits(t *testing.T) {
	w := newPushWorld(t, func(o *cacheserver.UploadOptions) { o.Quota, o.MaxFile = 3000, 2000 })
	noise := func(i byte) []byte { // does not compress
		b := []byte(nixhash.Sum(nixhash.SHA256, []byte{i}).Base16())
		for len(b) < 1500 {
			b = append(b, nixhash.Sum(nixhash.SHA256, b).Base16()...)
		}
		return b
	}
	var status int
	var text string
	for i := range byte(5) {
		archive := fileArchive(string(noise(i)))
		name := "/nar/" + nixhash.Sum(nixhash.SHA256, archive).Nix32() + ".nar"
		if status, text = put(w.h, testToken, name, archive); status == http.StatusInsufficientStorage {
			break
		}
	}
	if status != http.StatusInsufficientStorage {
		t.Errorf("beyond the quota: %d, %s", status, text)
	}
	large := fileArchive(strings.Repeat("x", 5000))
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, large).Nix32()+".nar", large); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file: %d, %s", status, text)
	}
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, nil).Nix32()+".nar.lzip", nil); status != http.StatusUnsupportedMediaType {
		t.Errorf("lzip: %d, %s", status, text)
	}
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, nil).Nix32()+".nar", large[:1000]); status != http.StatusUnprocessableEntity {
		t.Errorf("another hash: %d, %s", status, text)
	}
}

// Below /upload a client sees only the store that gets the uploads.
func TestUploadPrefix(t *testing.T) {
	first, second := memstore.New(nil), memstore.New(nil)
	path := addText(t, second, "text", "contents")
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()}}, first, second)
	if r := ask(h, http.MethodGet, "/"+narinfo.FileName(path)); r.Code != http.StatusOK {
		t.Errorf("the path of the second store: %d", r.Code)
	}
	if r := ask(h, http.MethodGet, "/upload/"+narinfo.FileName(path)); r.Code != http.StatusNotFound {
		t.Errorf("the path of the second store, below /upload: %d", r.Code)
	}
	if r := ask(h, http.MethodGet, "/upload/nix-cache-info"); r.Code != http.StatusOK {
		t.Errorf("nix-cache-info below /upload: %d", r.Code)
	}
	if status, text := put(h, testToken, "/upload/nix-cache-info", []byte("StoreDir: /nix/store\n")); status != http.StatusOK {
		t.Errorf("uploading below /upload: %d, %s", status, text)
	}
	plain := newHandler(t, nil, first)
	if r := ask(plain, http.MethodGet, "/upload/nix-cache-info"); r.Code != http.StatusNotFound {
		t.Errorf("a server without uploads: %d", r.Code)
	}
}

// A client that breaks off leaves nothing, and the server goes on.
func TestCutUpload(t *testing.T) {
	w := newPushWorld(t, nil)
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	body, writer := io.Pipe()
	r, err := http.NewRequest(http.MethodPut, srv.URL+"/"+o.n.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(o.file))
	r.SetBasicAuth("nix", testToken)
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	writer.Write(o.file[:10]) // returns when the client has read it
	writer.CloseWithError(errors.New("the client breaks off"))
	if err := <-ended; err == nil {
		t.Error("a cut request was answered")
	}
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Errorf("HEAD of a cut archive: %d", r.Code)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Errorf("after a cut upload: %d, %s", status, text)
	}
}

// A client without a token that fills its quota does not keep clients with other addresses from uploading, and all of them together
// are bounded. Addresses of one network of IPv6 are one client, and an uploader with a token is the same one at every address.
func TestQuotaOfAddresses(t *testing.T) {
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{
		Uploaders: []cacheserver.Uploader{{Name: "anyone"}, {Name: "me", Token: testToken}}, Dir: t.TempDir(), Quota: 1000,
	}}, memstore.New(nil))
	uploads := 0
	upload := func(token, address string, want int) {
		t.Helper()
		uploads++
		archive := fileArchive(strings.Repeat("x", 400) + strconv.Itoa(uploads)) // one fits in a quota, and seven in four quotas
		r := httptest.NewRequest(http.MethodPut, "/nar/"+nixhash.Sum(nixhash.SHA256, archive).Nix32()+".nar", bytes.NewReader(archive))
		r.RemoteAddr = address
		if token != "" {
			r.SetBasicAuth("nix", token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("upload %d from %s: %d, want %d: %s", uploads, address, w.Code, want, w.Body)
		}
	}
	full := func(address, again string) {
		t.Helper()
		upload("", address, http.StatusCreated)
		upload("", again, http.StatusInsufficientStorage)
	}
	full("192.0.2.1:1", "192.0.2.1:2")
	full("[2001:db8::1]:1", "[2001:db8::2]:1")
	full("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::]:1")
	full("127.0.0.1:1", "[::1]:1")
	for i := range 4 { // all addresses together have four quotas
		want := http.StatusCreated
		if i == 3 {
			want = http.StatusInsufficientStorage
		}
		upload("", fmt.Sprintf("198.51.100.%d:1", i), want)
	}
	upload(testToken, "192.0.2.1:1", http.StatusCreated)
	upload(testToken, "192.0.2.9:1", http.StatusInsufficientStorage)
}

// A client may send the narinfo of an archive from another address, for example by the other version of IP.
func TestPushFromTwoAddresses(t *testing.T) {
	key := newKey(t, "test-1")
	h := newHandler(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(key.Public()),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Name: "anyone"}}, Dir: t.TempDir()},
	}, memstore.New(nil))
	addresses := []string{"192.0.2.1:1", "[2001:db8::1]:1"}
	moving := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr, addresses = addresses[0], addresses[1:]
		h.ServeHTTP(w, r)
	})
	if status, text := newPushed(t, "x", fileArchive("x"), nil, key).push(t, moving, ""); status != http.StatusCreated {
		t.Errorf("%d, %s", status, text)
	}
}

// A HEAD request prolongs an archive only for the client that has sent it. A request without a token from another address neither
// finds nor prolongs it, also if clients without a token may upload.
func TestProlongedUploads(t *testing.T) {
	archive := fileArchive("contents")
	target := "/nar/" + nixhash.Sum(nixhash.SHA256, archive).Nix32() + ".nar"
	const owner, stranger = "192.0.2.1:1", "192.0.2.2:1"
	for _, test := range []struct {
		name, token, headToken, from string
		kept                         bool
	}{
		{"the same address", "", "", "192.0.2.1:2", true},
		{"another address", "", "", stranger, false},
		{"an uploader, asking for the archive of a client without a token", "", testToken, owner, false},
		{"the same token from another address", testToken, testToken, stranger, true},
		{"no token, asking for the archive of an uploader", testToken, "", owner, false},
		{"another uploader", testToken, trustedToken, owner, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandler(t, &cacheserver.Options{StallTimeout: -1, Uploads: &cacheserver.UploadOptions{
				Uploaders: []cacheserver.Uploader{{Name: "anyone"}, {Name: "me", Token: testToken}, {Name: "trusted", Token: trustedToken}},
				Dir:       t.TempDir(), Expiry: time.Hour,
			}}, memstore.New(nil))
			request := func(method, token, from string, body []byte) int {
				r := httptest.NewRequest(method, target, bytes.NewReader(body))
				r.RemoteAddr = from
				if token != "" {
					r.SetBasicAuth("nix", token)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Code
			}
			if status := request(http.MethodPut, test.token, owner, archive); status != http.StatusCreated {
				t.Fatalf("%s: uploading: %d", test.name, status)
			}
			time.Sleep(40 * time.Minute)
			if status := request(http.MethodHead, test.headToken, test.from, nil); (status == http.StatusOK) != test.kept {
				t.Errorf("%s: HEAD after 40 minutes: %d", test.name, status)
			}
			time.Sleep(40 * time.Minute)
			if status := request(http.MethodHead, test.token, owner, nil); (status == http.StatusOK) != test.kept {
				t.Errorf("%s: HEAD of the owner after 80 minutes: %d", test.name, status)
			}
		})
	}
}
