package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
}

func newSigner(next http.RoundTripper, server *url.URL, region string, c aws.CredentialsProvider) *signer {
	return &signer{next, server, region, c, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
}

// RoundTrip implements http.RoundTripper.
func (s *signer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != s.server.Scheme || req.URL.Host != s.server.Host {
		return s.next.RoundTrip(req)
	}
	if s.credentials != nil {
		c, err := s.credentials.Retrieve(req.Context())
		if err != nil {
			closeBody(req)
			return nil, fmt.Errorf("finding credentials: %w", err)
		}
		if req, err = s.sign(req, c, time.Now()); err != nil {
			return nil, err
		}
	}
	resp, err := s.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	return checkMissing(resp)
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

// An Error reports that a server refuses every request: because of the credentials or the signature, or because there is
// no such bucket. A retry is useless.
type Error struct {
	Code    string // of S3, such as "SignatureDoesNotMatch"
	Message string // of the server
}

func (e *Error) Error() string {
	return fmt.Sprintf("the server of the bucket refuses the request: %s: %s", oneLine(e.Code), oneLine(e.Message))
}

// oneLine returns a server's text without line breaks and control characters.
func oneLine(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// shortened returns at most the first n bytes of a server's text.
func shortened(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// Permanent reports that a retry is useless.
func (e *Error) Permanent() bool { return true }

// maxErrorBody is the largest number of bytes that are read of an error in XML.
const maxErrorBody = 64 << 10

// checkMissing returns an [*Error] if a server has sent the status 403 or 404 for another reason than that the object does
// not exist: package binarycache would take the object for missing.
func checkMissing(resp *http.Response) (*http.Response, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if err != nil || xml.Unmarshal(text, &e) != nil || e.Code == "" || slices.Contains(missing, e.Code) {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(text), errReader{err}, resp.Body), resp.Body}
		return resp, nil
	}
	resp.Body.Close()
	return nil, &Error{shortened(e.Code, 100), shortened(e.Message, 300)}
}

// missing are the codes of S3 for objects and uploads that do not exist. Servers send AccessDenied for objects that do
// not exist in buckets that the user may not list.
var missing = []string{"AccessDenied", "AllAccessDisabled", "NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NotFound"}

// An errReader returns an error, or io.EOF if that is nil.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}
