package s3_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pix/activity"
	"pix/binarycache"
	"pix/binarycache/s3"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A fakeS3 is a server of S3 in memory. It checks digests, but no signatures.
type fakeS3 struct {
	hook func(w http.ResponseWriter, r *http.Request) bool // sees each request first, and reports whether it has answered it

	mu      sync.Mutex
	objects map[string]string
	classes map[string]bool
	parts   map[string]map[int]string // by the id of the upload
	seen    []string                  // the requests, as "METHOD path?query"
	signed  int
}

func newFakeS3(t *testing.T) (*fakeS3, string) {
	f := &fakeS3{objects: make(map[string]string), classes: make(map[string]bool), parts: make(map[string]map[int]string)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, "s3://bucket/prefix?endpoint=" + server.URL
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		f.get(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.record(w, r) {
		return
	}
	key, query := r.URL.Path, r.URL.Query()
	id := query.Get("uploadId")
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		id = fmt.Sprint("id&", len(f.parts))
		f.parts[id] = make(map[int]string)
		f.classes[r.Header.Get("X-Amz-Storage-Class")] = true
		fmt.Fprintf(w, `<?xml version="1.0"?><InitiateMultipartUploadResult xmlns="x"><UploadId>id&amp;%d</UploadId></InitiateMultipartUploadResult>`, len(f.parts)-1)
	case r.Method == http.MethodPost:
		f.complete(w, key, id, string(body))
	case r.Method == http.MethodDelete:
		delete(f.parts, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.put(w, r, string(body))
	}
}

// record records a request, and reports whether the hook has answered it.
func (f *fakeS3) record(w http.ResponseWriter, r *http.Request) bool {
	f.seen = append(f.seen, r.Method+" "+r.URL.String())
	if strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") {
		f.signed++
	}
	return f.hook != nil && f.hook(w, r)
}

// get sends an object. A client may read one only after another, so the server is not locked meanwhile.
func (f *fakeS3) get(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	answered := f.record(w, r)
	text, ok := f.objects[r.URL.Path]
	f.mu.Unlock()
	switch {
	case answered:
	case ok:
		http.ServeContent(w, r, "x", time.Unix(1, 0), strings.NewReader(text))
	default:
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	}
}

// put stores an object or a part.
func (f *fakeS3) put(w http.ResponseWriter, r *http.Request, body string) {
	digest := md5.Sum([]byte(body))
	if r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(digest[:]) {
		http.Error(w, "<Error><Code>BadDigest</Code><Message>bad</Message></Error>", http.StatusBadRequest)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, digest))
	query := r.URL.Query()
	if part, err := strconv.Atoi(query.Get("partNumber")); err != nil {
		f.objects[r.URL.Path] = body
		f.classes[r.Header.Get("X-Amz-Storage-Class")] = true
	} else if parts := f.parts[query.Get("uploadId")]; parts != nil {
		parts[part] = body
	} else { // the upload was aborted while this part was sent
		http.Error(w, "<Error><Code>NoSuchUpload</Code></Error>", http.StatusNotFound)
	}
}

// complete puts the parts of an upload together.
func (f *fakeS3) complete(w http.ResponseWriter, key, id, list string) {
	var text strings.Builder
	for i := range len(f.parts[id]) {
		part := f.parts[id][i+1]
		text.WriteString(part)
		want := fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>&#34;%x&#34;</ETag></Part>", i+1, md5.Sum([]byte(part)))
		if !strings.Contains(list, want) {
			http.Error(w, "<Error><Code>InvalidPart</Code><Message>"+list+"</Message></Error>", http.StatusBadRequest)
			return
		}
	}
	delete(f.parts, id)
	f.objects[key] = text.String()
	io.WriteString(w, "<CompleteMultipartUploadResult/>")
}

// requests returns how many requests begin with a text and contain another one.
func (f *fakeS3) requests(prefix, part string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if strings.HasPrefix(s, prefix) && strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// Without a bucket there is no cache, also not an empty one.
func TestNoBucket(t *testing.T) {
	f, uri := newFakeS3(t)
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<Error><Code>NoSuchBucket</Code><Message>there is none</Message></Error>")
		return true
	}
	_, err := s3.OpenWith(t.Context(), uri, key(), &binarycache.Options{Create: true})
	if err == nil || !strings.Contains(err.Error(), "refuses the request: NoSuchBucket: there is none") || f.requests("", "") != 1 {
		t.Errorf("%v", err)
	}
}

// set changes the answers of the server, and forgets its requests.
func (f *fakeS3) set(hook func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook, f.seen = hook, nil
}

func key() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secret"}, nil
	})
}

func open(t *testing.T, uri string, c aws.CredentialsProvider) *binarycache.Store {
	t.Helper()
	s, err := s3.OpenWith(t.Context(), uri, c, &binarycache.Options{Create: true, HTTP: binarycache.HTTPOptions{RetryDelay: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// source returns a store with two paths. The second is large and refers to the first.
func source(t *testing.T, size int) (*memstore.Store, []storepath.Path) {
	t.Helper()
	s := memstore.New(nil)
	small, err := s.AddTextToStore(t.Context(), "small", "small", nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := s.AddTextToStore(t.Context(), "large", noise()[:size], []storepath.Path{small})
	if err != nil {
		t.Fatal(err)
	}
	return s, []storepath.Path{small, large}
}

// The sizes of files that are sent in three and in two parts.
const largeSize, twoParts = 11_000_000, 5_300_000

// noise returns incompressible text.
var noise = sync.OnceValue(func() string {
	b := make([]byte, largeSize)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
})

const parts = "&multipart-upload=true&multipart-threshold=5242880&storage-class=STANDARD_IA&compression=none"

// A copy to a bucket and back gives the same objects. A large file is sent in parts. All requests are signed.
func TestCopy(t *testing.T) {
	f, uri := newFakeS3(t)
	src, paths := source(t, largeSize)
	s := open(t, uri+parts, key())
	if s.URI() != "s3://bucket/prefix" {
		t.Errorf("the URI is %s", s.URI())
	}
	if _, err := store.Copy(t.Context(), s, src, paths, nil); err != nil {
		t.Fatal(err)
	}
	back := memstore.New(nil)
	if _, err := store.Copy(t.Context(), back, open(t, uri, key()), paths, nil); err != nil {
		t.Fatal(err)
	}
	if n := f.requests("PUT", "partNumber="); n != 3 {
		t.Errorf("%d parts", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) != f.signed || len(f.parts) != 0 || len(f.classes) != 1 || !f.classes["STANDARD_IA"] {
		t.Errorf("%d requests, %d signed; %d uploads remain; storage classes %v", len(f.seen), f.signed, len(f.parts), f.classes)
	}
	for name := range f.objects {
		if !strings.HasPrefix(name, "/bucket/prefix/") {
			t.Errorf("an object has the key %s", name)
		}
	}
}

// An upload in parts is repeated where it has failed, or aborted.
func TestPartsFail(t *testing.T) {
	const failure = "<Error><Code>InternalError</Code><Message>try\nagain</Message></Error>"
	for name, test := range map[string]struct {
		fail  func(w http.ResponseWriter, r *http.Request, first bool) bool
		error string
	}{
		"a part once": {func(w http.ResponseWriter, r *http.Request, first bool) bool {
			if first && r.URL.Query().Get("partNumber") == "2" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return false
		}, ""},
		"the end once, with status 200": {func(w http.ResponseWriter, r *http.Request, first bool) bool {
			if first && r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				io.WriteString(w, failure)
				return true
			}
			return false
		}, ""},
		"a part": {func(w http.ResponseWriter, r *http.Request, _ bool) bool {
			if r.URL.Query().Get("partNumber") == "2" {
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, strings.Replace(failure, "InternalError", "EntityTooSmall", 1))
				return true
			}
			return false
		}, "400 Bad Request: EntityTooSmall: try again"},
		"no tag": {func(w http.ResponseWriter, r *http.Request, _ bool) bool {
			return r.URL.Query().Get("partNumber") == "1"
		}, "no ETag"},
		"no id": {func(w http.ResponseWriter, r *http.Request, _ bool) bool {
			return r.URL.Query().Has("uploads")
		}, "no UploadId"},
		"the end": {func(w http.ResponseWriter, r *http.Request, _ bool) bool {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				io.WriteString(w, failure)
				return true
			}
			return false
		}, "InternalError: try again"},
	} {
		f, uri := newFakeS3(t)
		failed := false
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			now := test.fail(w, r, !failed)
			failed = failed || now
			return now
		}
		src, paths := source(t, twoParts)
		_, err := store.Copy(t.Context(), open(t, uri+parts, key()), src, paths, nil)
		if (err == nil) != (test.error == "") || err != nil && !strings.Contains(err.Error(), test.error) {
			t.Errorf("%s: %v, want %q", name, err, test.error)
		}
		f.mu.Lock() // a part that was aborted may still arrive
		if !failed || len(f.parts) != 0 {
			t.Errorf("%s: %v; %d uploads remain", name, failed, len(f.parts))
		}
		f.mu.Unlock()
	}
}

// The answer to the last request is lost: the file is there.
func TestLostEnd(t *testing.T) {
	f, uri := newFakeS3(t)
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		id := r.URL.Query().Get("uploadId")
		if r.Method != http.MethodPost || id == "" {
			return false
		}
		if f.parts[id] == nil {
			http.Error(w, "<Error><Code>NoSuchUpload</Code></Error>", http.StatusNotFound)
			return true
		}
		f.objects[r.URL.Path] = f.parts[id][1] + f.parts[id][2]
		delete(f.parts, id)
		panic(http.ErrAbortHandler)
	}
	src, paths := source(t, twoParts)
	if _, err := store.Copy(t.Context(), open(t, uri+parts, key()), src, paths, nil); err != nil {
		t.Error(err)
	}
}

// The server has aborted an upload before its last request. An older file of the same size does not count.
func TestAbortedByServer(t *testing.T) {
	f, uri := newFakeS3(t)
	src, paths := source(t, twoParts)
	if _, err := store.Copy(t.Context(), open(t, uri+parts, key()), src, paths, nil); err != nil {
		t.Fatal(err)
	}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
			return false
		}
		http.Error(w, "<Error><Code>NoSuchUpload</Code></Error>", http.StatusNotFound)
		return true
	})
	info, err := src.QueryPathInfo(t.Context(), paths[1])
	if err != nil {
		t.Fatal(err)
	}
	archive, err := src.NARFromPath(t.Context(), paths[1])
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	err = open(t, uri+parts, key()).AddToStoreNAR(t.Context(), info, archive, &store.AddOptions{Repair: true})
	if err == nil || !strings.Contains(err.Error(), "NoSuchUpload") {
		t.Errorf("%v", err)
	}
}

// A server that does not accept the credentials is not taken for an empty cache, and nothing is retried.
func TestWrongKey(t *testing.T) {
	f, uri := newFakeS3(t)
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>wrong\x1b\nkey</Message></Error>")
		return true
	}
	_, err := s3.OpenWith(t.Context(), uri, key(), &binarycache.Options{Create: true})
	if refused, ok := errors.AsType[*s3.Error](err); ok {
		t.Errorf("an invalid character was accepted: %v", refused)
	}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>wrong\nkey</Message></Error>")
		return true
	})
	_, err = s3.OpenWith(t.Context(), uri, key(), &binarycache.Options{Create: true})
	if refused, ok := errors.AsType[*s3.Error](err); !ok || refused.Code != "SignatureDoesNotMatch" || !strings.Contains(err.Error(), `wrong\nkey`) {
		t.Errorf("%v", err)
	}
	if n := f.requests("", ""); n != 1 {
		t.Errorf("it sent %d requests", n)
	}
}

// The code and the message of an error are shortened, and have no control characters.
func TestHostileError(t *testing.T) {
	f, uri := newFakeS3(t)
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>No\n\u009b31m%s</Code><Message>\u009b%s</Message></Error>", strings.Repeat("x", 9000), strings.Repeat("é", 9000))
		return true
	}
	_, err := s3.OpenWith(t.Context(), uri, key(), &binarycache.Options{Create: true})
	refused, ok := errors.AsType[*s3.Error](err)
	if !ok || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\n\u009b\ufffd") || !strings.Contains(refused.Code, "No") {
		t.Errorf("%d bytes: %.2000v", len(err.Error()), err)
	}
}

// Another server gets no signature: one to which the server redirects, and one that a narinfo names.
func TestOtherServer(t *testing.T) {
	f, uri := newFakeS3(t)
	src, paths := source(t, 100)
	if _, err := store.Copy(t.Context(), open(t, uri, key()), src, paths, nil); err != nil {
		t.Fatal(err)
	}
	other, _ := newFakeS3(t)
	f.mu.Lock()
	other.objects = maps.Clone(f.objects)
	f.mu.Unlock()
	server := httptest.NewServer(other)
	defer server.Close()
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/nar/") {
			http.Redirect(w, r, server.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if _, err := store.Copy(t.Context(), memstore.New(nil), open(t, uri, key()), paths, nil); err != nil {
		t.Fatal(err)
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.seen) != 2 || other.signed != 0 {
		t.Errorf("%d requests to the other server, %d signed", len(other.seen), other.signed)
	}
}

// Credentials come from the environment. Without credentials, requests are not signed, and there is a warning.
func TestCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	for _, id := range []string{"", "key"} {
		t.Setenv("AWS_ACCESS_KEY_ID", id)
		t.Setenv("AWS_SECRET_ACCESS_KEY", id)
		f, uri := newFakeS3(t)
		f.objects["/bucket/prefix/nix-cache-info"] = "StoreDir: /nix/store\n"
		var warnings []string
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			if log, ok := e.(activity.Log); ok {
				warnings = append(warnings, log.Text)
			}
		}))
		s, err := s3.Open(ctx, uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		f.mu.Lock()
		if warned := slices.ContainsFunc(warnings, func(s string) bool { return strings.Contains(s, "not signed") }); warned != (id == "") || (f.signed == 0) != (id == "") {
			t.Errorf("with the key %q: %d signed requests, warnings %q", id, f.signed, warnings)
		}
		f.mu.Unlock()
	}
}
