package s3

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// The signatures are the ones of AWS's published examples, "Authenticating Requests: Using the Authorization Header".
func TestSignatures(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	key := aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	for _, test := range []struct {
		method, path, query string
		header              map[string]string
		headers, signature  string
	}{
		{"GET", "/test.txt", "", map[string]string{"Range": "bytes=0-9", "Accept-Encoding": "gzip"},
			"host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"PUT", "/test$file.text", "", map[string]string{
			"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Expect": "100-continue",
			"X-Amz-Content-Sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
		}, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"GET", "/", "lifecycle", nil, "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"GET", "/", "max-keys=2&prefix=J", nil, "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		u := &url.URL{Scheme: "https", Host: "examplebucket.s3.amazonaws.com", Path: test.path, RawQuery: test.query}
		req := (&http.Request{Method: test.method, URL: u, Host: u.Host, Header: http.Header{}}).WithContext(t.Context())
		for name, value := range test.header {
			req.Header.Set(name, value)
		}
		signed, err := newSigner(nil, u, "us-east-1", nil).sign(req, key, at)
		if err != nil {
			t.Fatal(err)
		}
		want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=" + test.headers + ", Signature=" + test.signature
		if got := signed.Header.Get("Authorization"); got != want {
			t.Errorf("%s %s: %s\nwant %s", test.method, u, got, want)
		}
		if req.Header.Get("Authorization") != "" || strings.Contains(signed.URL.String(), "$") {
			t.Errorf("%s: the request was changed, or is not escaped: %v", u, signed.URL)
		}
	}
}

// A URI gives the URL of the bucket as in Nix.
func TestURLs(t *testing.T) {
	for uri, want := range map[string]string{
		"s3://b": "https://b.s3.us-east-1.amazonaws.com",
		"s3://b/a/c/?region=eu-west-1&scheme=http":          "http://b.s3.eu-west-1.amazonaws.com/a/c",
		"s3://b/100%25/a%2541+%C3%BC?addressing-style=path": "https://s3.us-east-1.amazonaws.com/b/100%25/a%2541+%C3%BC",
		"s3://b/100%25":                                          "https://b.s3.us-east-1.amazonaws.com/100%25",
		"s3://b?addressing-style=path":                           "https://s3.us-east-1.amazonaws.com/b",
		"s3://a.b/c":                                             "https://s3.us-east-1.amazonaws.com/a.b/c",
		"s3://a.b?addressing-style=virtual":                      "has a dot",
		"s3://b?endpoint=minio:9000&scheme=http":                 "http://minio:9000/b",
		"s3://b/p?endpoint=minio:9000&addressing-style=virtual":  "https://b.minio:9000/p",
		"s3://b?endpoint=http://minio:9000/x&compression=none":   "http://minio:9000/x/b?compression=none",
		"s3://b?endpoint=http://minio/&addressing-style=virtual": "http://b.minio/",
		"s3://b?endpoint=127.0.0.1&addressing-style=virtual":     "is an address",
		"s3://b?endpoint=ftp://minio":                            "not an HTTP URL",
		"s3://b?endpoint=http://":                                "no host",
		"s3://b?region=evil.example/":                            "invalid",
		"s3://b?region=x@evil.example":                           "invalid",
		"s3://b?addressing-style=none":                           "addressing-style",
		"s3://b?scheme=ftp":                                      "scheme",
		"s3://b?multipart-chunk-size=1":                          "5 MiB to 5 GiB",
		"s3://b?buffer-size=6000000000":                          "5 MiB to 5 GiB",
		"s3://b?multipart-threshold=x":                           "not a size",
		"s3://b?multipart-upload=x":                              "multipart-upload",
		"s3://":                                                  "expected s3://BUCKET",
		"s3://b:80":                                              "expected s3://BUCKET",
		"s3://me:secret@b":                                       "expected s3://BUCKET",
		"s3://b/../other":                                        "invalid prefix",
		"s3://b#x":                                               "fragment",
	} {
		b, err := parseURI(uri)
		got := ""
		if err == nil {
			var u *url.URL
			if u, _, err = b.url(); err == nil {
				got = u.String()
			}
		}
		if err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v, want %q", uri, got, err, want)
		}
	}
}
