package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// unsignedPayload is the hash of a body that the signature does not cover, as in Nix. The header Content-MD5, which the
// signature covers, protects it.
const unsignedPayload = "UNSIGNED-PAYLOAD"

// A signer is a RoundTripper that signs the requests to one server.
type signer struct {
	next        http.RoundTripper
	server      *url.URL
	region      string
	credentials aws.CredentialsProvider // nil does not sign
	v4          *v4.Signer

	mu      sync.Mutex
	expired aws.Credentials // the last credentials that the server has reported as expired
}

func newSigner(next http.RoundTripper, server *url.URL, region string, c aws.CredentialsProvider) *signer {
	return &signer{
		next: next, server: server, region: region, credentials: c,
		v4: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
	}
}

// RoundTrip implements http.RoundTripper.
func (s *signer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != s.server.Scheme || req.URL.Host != s.server.Host {
		return s.next.RoundTrip(req)
	}
	var c aws.Credentials
	if s.credentials != nil {
		var err error
		if c, err = s.credentials.Retrieve(req.Context()); err != nil {
			closeBody(req)
			return nil, fmt.Errorf("finding credentials: %w", err)
		}
		if req, err = s.sign(req, c, time.Now()); err != nil {
			return nil, err
		}
	}
	resp, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return s.checkRefusal(resp, c)
	}
	return resp, nil
}

// closeBody closes the body of a request, as every RoundTripper must.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// sign returns a signed copy of a request. The signature covers the URL and the headers that are about the object. It does
// not cover headers that a proxy may change, such as Accept-Encoding.
func (s *signer) sign(req *http.Request, c aws.Credentials, at time.Time) (*http.Request, error) {
	sent := req.Clone(req.Context())
	sent.URL.RawPath = escapePath(sent.URL.Path)
	sent.Header.Del("Authorization")
	payload := unsignedPayload
	if digest := sent.Header.Get("X-Amz-Content-Sha256"); digest != "" {
		payload = digest
	} else if req.Body == nil || req.Body == http.NoBody {
		empty := sha256.Sum256(nil)
		payload = hex.EncodeToString(empty[:])
	}
	sent.Header.Set("X-Amz-Content-Sha256", payload)
	covered := sent.Clone(context.WithoutCancel(req.Context()))
	covered.Body, covered.ContentLength = nil, 0
	for name := range covered.Header {
		if !isCovered(name) {
			delete(covered.Header, name)
		}
	}
	if err := s.v4.SignHTTP(req.Context(), c, covered, payload, "s3", s.region, at); err != nil {
		closeBody(req)
		return nil, err
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if values := covered.Header.Values(name); len(values) > 0 {
			sent.Header[name] = values
		}
	}
	sent.URL.RawQuery = covered.URL.RawQuery
	return sent, nil
}

// isCovered reports whether a signature covers a header.
func isCovered(name string) bool {
	return strings.HasPrefix(name, "X-Amz-") || slices.Contains([]string{"Content-Md5", "Content-Type", "Content-Encoding", "Date", "Range"}, name)
}

// escapePath escapes each byte of a path as AWS does: net/url leaves some characters that AWS escapes before it verifies
// the signature.
func escapePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
