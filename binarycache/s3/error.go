package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// An Error reports that a server refuses a request, for example because of the credentials, the signature or the region, or
// because there is no such bucket.
type Error struct {
	Code    string // of S3, such as "SignatureDoesNotMatch"
	Message string // of the server, or what to do

	transient bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("the server of the bucket refuses the request: %s: %s", oneLine(e.Code), oneLine(e.Message))
}

// Permanent reports that a retry is useless.
func (e *Error) Permanent() bool { return !e.transient }

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

// maxErrorBody is the largest number of bytes that are read of an error in XML.
const maxErrorBody = 64 << 10

// An answeredError is an error of S3 in XML.
type answeredError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	Region  string
}

// checkRefusal returns an [*Error] for the response to a request that was signed with c, if the code of S3 says more than the
// status. The status 400 also stands for failures that a retry mends, and for 403 or 404, package binarycache would take the
// object for missing. Otherwise checkRefusal returns the response.
func (s *signer) checkRefusal(resp *http.Response, c aws.Credentials) (*http.Response, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var e answeredError
	if err != nil || xml.Unmarshal(text, &e) != nil {
		e = answeredError{}
	}
	refused := &Error{Code: shortened(e.Code, 100), Message: shortened(e.Message, 300)}
	switch region := s.otherRegion(resp, &e); {
	case region != "":
		refused.Code = cmp.Or(refused.Code, "PermanentRedirect")
		refused.Message = fmt.Sprintf("the bucket is in the region %s, not in %s: add region=%[1]s to the URI", region, s.region)
	case slices.Contains(transient, e.Code):
		refused.transient = true
	case slices.Contains(expired, e.Code):
		refused.transient = s.renew(c)
	case e.Code == "" || slices.Contains(missing, e.Code) || resp.StatusCode < http.StatusForbidden:
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(text), errReader{err}, resp.Body), resp.Body}
		return resp, nil
	}
	resp.Body.Close()
	return nil, refused
}

// missing are the codes of S3 for objects and uploads that do not exist. Servers send AccessDenied for objects that do
// not exist in buckets that the user may not list.
var missing = []string{"AccessDenied", "AllAccessDisabled", "NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NotFound"}

// transient are the codes of failures with the statuses 400 and 403 that a retry may mend, as in Nix.
var transient = []string{
	"IncompleteBody", "InternalError", "InternalFailure", "InternalServerError", "RequestExpired", "RequestTimeout", "RequestTimeTooSkewed",
	"RequestThrottled", "SlowDown", "ServiceUnavailable", "Throttling", "ThrottledException",
}

// expired are the codes for credentials that have expired.
var expired = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}

// otherRegion returns the region that a response names, if the request has failed because of another one. The response to a HEAD
// request has no body.
func (s *signer) otherRegion(resp *http.Response, e *answeredError) string {
	if resp.StatusCode != http.StatusMovedPermanently && resp.StatusCode != http.StatusBadRequest {
		return ""
	}
	region := resp.Header.Get("X-Amz-Bucket-Region")
	if region == "" {
		region = e.Region
	}
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if region == s.region || len(region) > 40 || strings.Trim(region, digits) != "" {
		return ""
	}
	return region
}

// renew makes the provider look for new credentials after the server has reported that c has expired. It reports whether a
// retry may have others. Several requests may fail because of the same credentials.
func (s *signer) renew(c aws.Credentials) bool {
	provider, ok := s.credentials.(interface{ Invalidate() })
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.AccessKeyID != s.expired.AccessKeyID || c.SessionToken != s.expired.SessionToken {
		s.expired = c
		provider.Invalidate()
	}
	return true
}

// An errReader returns an error, or io.EOF if that is nil.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}
