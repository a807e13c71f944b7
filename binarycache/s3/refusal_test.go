package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/binarycache"
	"pix/binarycache/s3"
	"pix/store"
	"pix/store/memstore"
)

// Failures with the status 400, 403 or 200 whose code is about a passing state are retried: in uploads and downloads.
func TestTransientCodes(t *testing.T) {
	for _, answer := range []struct {
		status int
		code   string
	}{
		{http.StatusBadRequest, "RequestTimeout"},
		{http.StatusForbidden, "RequestTimeTooSkewed"},
		{http.StatusOK, "InternalError"},
	} {
		f, uri := newFakeS3(t)
		seen := make(map[string]bool)
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			request := r.Method + r.URL.Path
			if seen[request] || r.Method == http.MethodHead || answer.status == http.StatusOK && r.Method != http.MethodPut {
				return false // the answer to a HEAD request has no code
			}
			seen[request] = true
			w.WriteHeader(answer.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>again</Message></Error>", answer.code)
			return true
		})
		src, paths := source(t, 1000)
		if _, err := store.Copy(t.Context(), open(t, uri, key()), src, paths, nil); err != nil {
			t.Errorf("%s: %v", answer.code, err)
		}
		if _, err := store.Copy(t.Context(), memstore.New(nil), open(t, uri, key()), paths, nil); err != nil {
			t.Errorf("%s: %v", answer.code, err)
		}
		if len(seen) == 0 {
			t.Errorf("%s: no request has failed", answer.code)
		}
	}
}

// The error for a wrong region says which one the server names, also if the answer has no body. The name is not printed if it
// is no region.
func TestWrongRegion(t *testing.T) {
	const malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message><Region>%s</Region></Error>"
	for _, test := range []struct {
		status       int
		header, body string
		want         string
	}{
		{http.StatusMovedPermanently, "eu-west-1", "", "PermanentRedirect: the bucket is in the region eu-west-1, not in us-east-1: add region=eu-west-1 to the URI"},
		{http.StatusBadRequest, "eu-west-1", "", "add region=eu-west-1 to the URI"},
		{http.StatusBadRequest, "", fmt.Sprintf(malformed, "eu-west-1"), "AuthorizationHeaderMalformed: the bucket is in the region eu-west-1"},
		{http.StatusBadRequest, "", fmt.Sprintf(malformed, "eu west&amp;x=1"), "HTTP status 400 Bad Request"},
		{http.StatusBadRequest, "us-east-1", "", "HTTP status 400 Bad Request"},
	} {
		f, uri := newFakeS3(t)
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if test.header != "" {
				w.Header().Set("X-Amz-Bucket-Region", test.header)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
			return true
		})
		_, err := s3.OpenWith(t.Context(), uri, key(), &binarycache.Options{Create: true})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "region=eu west") {
			t.Errorf("%d, %q, %q: %v, want %s", test.status, test.header, test.body, err, test.want)
		}
		if n := f.requests("", ""); n != 1 {
			t.Errorf("%d, %q: %d requests", test.status, test.header, n)
		}
	}
}

// Credentials that expire during a copy are looked up again: another program may have written new ones. Credentials of the
// environment cannot change.
func TestExpiredCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(id string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = secret\naws_session_token = %[1]s\n", id), 0o600); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	for _, environment := range []bool{false, true} {
		write("old")
		if environment {
			t.Setenv("AWS_ACCESS_KEY_ID", "old")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
		}
		f, uri := newFakeS3(t)
		refused := 0
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.Header.Get("Authorization"), "Credential=old/") {
				return false
			}
			write("key")
			refused++
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
			return true
		})
		src, paths := source(t, 1000)
		s, err := s3.Open(t.Context(), uri, &binarycache.Options{Create: true, HTTP: binarycache.HTTPOptions{RetryDelay: time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Copy(t.Context(), s, src, paths, nil)
		s.Close()
		if failed, ok := errors.AsType[*s3.Error](err); environment && (!ok || failed.Code != "ExpiredToken") || !environment && err != nil {
			t.Errorf("from the environment %t: %v", environment, err)
		}
		if refused == 0 || environment && refused != 1 {
			t.Errorf("from the environment %t: %d requests were refused", environment, refused)
		}
	}
}

// A download whose first answer is an error of S3 with the status 200 is repeated, also if the error arrives in pieces.
func TestErrorInDownload(t *testing.T) {
	f, uri := newFakeS3(t)
	src, paths := source(t, 1000)
	if _, err := store.Copy(t.Context(), open(t, uri, key()), src, paths, nil); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if request := r.Method + r.URL.Path; r.Method == http.MethodGet && !seen[request] {
			seen[request] = true
			io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`)
			http.NewResponseController(w).Flush()
			io.WriteString(w, "\n<Error><Code>SlowDown</Code><Message>again</Message></Error>")
			return true
		}
		return false
	})
	s := open(t, uri, key())
	for _, path := range paths {
		if _, err := s.QueryPathInfo(t.Context(), path); err != nil {
			t.Error(err)
		}
		archive, err := store.ReadNAR(t.Context(), s, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			t.Error(err)
		}
		archive.Close()
	}
	if len(seen) < 3 {
		t.Errorf("only %v have failed", seen)
	}
}
