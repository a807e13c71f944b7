package s3test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"pix/binarycache"
	"pix/binarycache/s3"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// source returns a store with two paths. The second is large and refers to the first.
func source(t *testing.T, size int) (*memstore.Store, []storepath.Path) {
	t.Helper()
	s := memstore.New(nil)
	small, err := s.AddTextToStore(t.Context(), "small", "small", nil)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	large, err := s.AddTextToStore(t.Context(), "large", string(noise), []storepath.Path{small})
	if err != nil {
		t.Fatal(err)
	}
	return s, []storepath.Path{small, large}
}

// open opens a bucket, which becomes a cache.
func open(t *testing.T, uri string, c aws.CredentialsProvider) *binarycache.Store {
	t.Helper()
	s, err := s3.OpenWith(t.Context(), uri, c, &binarycache.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// testStore writes all kinds of files to a bucket, and reads them again.
func testStore(t *testing.T, uri string, c aws.CredentialsProvider) {
	t.Helper()
	const params = "&compression=none&write-nar-listing=true&multipart-upload=true&multipart-threshold=6000000&multipart-chunk-size=5242880"
	src, paths := source(t, 12_000_000)
	s := open(t, uri+params, c)
	if copied, err := store.Copy(t.Context(), s, src, paths, nil); err != nil || len(copied) != 2 {
		t.Fatal(copied, err)
	}
	const drv = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a+b=c.drv"
	if err := s.AddBuildLog(t.Context(), drv, strings.NewReader("a log")); err != nil {
		t.Fatal(err)
	}
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Path: drv, Output: "out"}
	if err := s.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: paths[0]}}); err != nil {
		t.Fatal(err)
	}

	s = open(t, uri, c)
	back := memstore.New(nil)
	if copied, err := store.Copy(t.Context(), back, s, paths, nil); err != nil || len(copied) != 2 {
		t.Fatal(copied, err)
	}
	log, err := s.BuildLog(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if text, err := io.ReadAll(log); err != nil || string(text) != "a log" {
		t.Errorf("%q, %v", text, err)
	}
	if r, err := s.QueryRealisation(t.Context(), id); err != nil || r.OutPath != paths[0] {
		t.Errorf("%v, %v", r, err)
	}
	if listing, err := s.Listing(t.Context(), paths[1]); err != nil || listing == nil {
		t.Error(err)
	}
	if copied, err := store.Copy(t.Context(), s, src, paths, nil); err != nil || len(copied) != 0 {
		t.Errorf("copied again: %v, %v", copied, err)
	}
}

func key(id, secret string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, "")
}

// The server checks signatures.
func TestVersity(t *testing.T) {
	uri := startVersity(t)
	testStore(t, uri, key(accessKey, secretKey))
	for name, test := range map[string]struct {
		key  aws.CredentialsProvider
		code string
	}{
		"wrong secret": {key(accessKey, "wrong"), "SignatureDoesNotMatch"},
		"wrong id":     {key("unknown", secretKey), "XAdminUserNotFound"}, // AWS's server says InvalidAccessKeyId
	} {
		_, err := s3.OpenWith(t.Context(), uri, test.key, &binarycache.Options{Create: true})
		if refused, ok := errors.AsType[*s3.Error](err); !ok || refused.Code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s3.OpenWith(t.Context(), strings.Replace(uri, "bucket", "other", 1), key(accessKey, secretKey), &binarycache.Options{Create: true})
	if refused, ok := errors.AsType[*s3.Error](err); !ok || refused.Code != "NoSuchBucket" {
		t.Errorf("a missing bucket: %v", err)
	}
	s, err := s3.OpenWith(t.Context(), uri, nil, &binarycache.Options{Create: true})
	if err == nil {
		_, err = s.AddTextToStore(t.Context(), "x", "x", nil)
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "HTTP status 403 Forbidden: AccessDenied") {
		t.Errorf("without a key: %v", err)
	}
}

// Signatures cover prefixes with characters that servers, clients and AWS escape differently.
func TestVersityNames(t *testing.T) {
	uri := startVersity(t)
	for _, prefix := range []string{"a%20b", "a+b", "100%25", "%C3%BC/%E2%82%AC", "a&b=c;d,e@f", "(a)!~*'$", "a%3Fb%23c", "deep/er/prefix"} {
		t.Run(prefix, func(t *testing.T) {
			testStore(t, strings.Replace(uri, "s3://bucket", "s3://bucket/"+prefix, 1), key(accessKey, secretKey))
		})
	}
}

// A failed upload in parts leaves nothing behind in the server, whether a part fails or the caller cancels the copy.
func TestVersityAbort(t *testing.T) {
	uri := startVersity(t)
	for _, cancels := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opts := &binarycache.Options{Create: true, HTTP: binarycache.HTTPOptions{Wrap: func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.URL.Query().Get("partNumber") != "2" {
					return next.RoundTrip(req)
				}
				if cancels {
					cancel()
				}
				return &http.Response{Status: "403 Forbidden", StatusCode: http.StatusForbidden, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
			})
		}}}
		s, err := s3.OpenWith(ctx, uri+"&compression=none&multipart-upload=true&multipart-threshold=6000000", key(accessKey, secretKey), opts)
		if err != nil {
			t.Fatal(err)
		}
		src, paths := source(t, 12_000_000)
		if _, err := store.Copy(ctx, s, src, paths, nil); err == nil {
			t.Error("the copy has succeeded")
		}
		s.Close()
		if list := request(t, http.MethodGet, endpointOf(uri)+"/bucket?uploads="); !strings.Contains(list, "ListMultipartUploadsResult") || strings.Contains(list, "<UploadId>") {
			t.Errorf("cancelled %t: uploads remain: %s", cancels, list)
		}
	}
}

// A roundTripper is a function that sends a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// endpointOf returns the URL of the server of a bucket.
func endpointOf(uri string) string {
	_, endpoint, _ := strings.Cut(uri, "endpoint=")
	return endpoint
}

// The server accepts any signature.
func TestFake(t *testing.T) {
	uri, _ := startFake(t)
	testStore(t, uri, key("a", "b"))
}

// startFake starts gofakes3, and returns the URI of a bucket and a function that returns its keys.
func startFake(t *testing.T) (uri string, keys func() []string) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	return "s3://bucket?endpoint=" + server.URL, func() (names []string) {
		list, err := backend.ListBucket("bucket", &gofakes3.Prefix{}, gofakes3.ListBucketPage{MaxKeys: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range list.Contents {
			names = append(names, object.Key)
		}
		slices.Sort(names)
		return names
	}
}

// Debian's Nix sends the same objects to a bucket as pix, unsigned. Each reads what the other has written.
func TestLikeNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	byNix, keysOfNix := startFake(t)
	byPix, keysOfPix := startFake(t)
	out := strings.TrimSpace(d.MustRun(t, "nix", "store", "add-file", "/etc/passwd"))
	path, err := storepath.DefaultDir.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	const params = "&compression=none&write-nar-listing=true"
	d.MustRun(t, "nix", "copy", "--to", byNix+params, out)
	src := memstore.New(nil)
	if _, err := store.Copy(t.Context(), src, open(t, byNix, nil), []storepath.Path{path}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Copy(t.Context(), open(t, byPix+params, nil), src, []storepath.Path{path}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := keysOfPix(), keysOfNix(); !slices.Equal(got, want) || len(got) != 4 {
		t.Errorf("pix sent %q\nNix sent %q", got, want)
	}
	if info := d.MustRun(t, "nix", "path-info", "--store", byPix, out); !strings.Contains(info, out) {
		t.Errorf("Nix finds %q", info)
	}
}
