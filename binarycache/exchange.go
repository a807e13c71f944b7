package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

var errUploadStalled = errors.New("the upload has stalled")

// errAnsweredEarly reports that a server has accepted a file that it cannot have read.
var errAnsweredEarly = errors.New("the server has answered before it got the whole file")

// A redirectError reports that a server redirects an upload to another host. Following it would give the body, and
// the login, to a host that the user has not chosen.
type redirectError struct{ to string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("the server redirects the upload to another host, to '%s'", e.to)
}

// An answer is the complete response to a request that is not a download.
type answer struct {
	header http.Header
	length int64 // the header Content-Length; -1 if it is missing
	body   []byte
}

// maxAnswer is the largest number of bytes that are read of an answer, maxMessage the largest number that an error
// shows.
const (
	maxAnswer  = 64 << 10
	maxMessage = 500
)

// exchange sends a request from its beginning, and again after transient failures, until the server answers with
// success. The error is a [*RequestError] or the error of the context.
func (r *remote) exchange(ctx context.Context, req *request) (*answer, error) {
	retrier := retrier{opts: r.opts.forCall(ctx)}
	for redirects := 0; ; {
		got, failure := r.attempt(ctx, req, retrier.opts)
		switch {
		case failure == nil:
			return got, nil
		case ctx.Err() != nil:
			return nil, contextError(ctx)
		case failure.Status == http.StatusExpectationFailed && req.header.Get("Expect") != "":
			req.header.Del("Expect") // as in curl
			continue
		case isRedirect(failure.Status) && got.header.Get("Location") != "":
			to, err := r.redirected(req.url, got.header)
			if redirects++; err == nil && redirects > maxRedirects {
				err = errRedirects
			}
			if err == nil {
				req.url = to
				continue
			}
			failure.Status, failure.Answer, failure.Err = 0, "", err
		}
		failure.URL, failure.Method = req.url.Redacted(), req.method
		if err := retrier.wait(ctx, failure, retryAfter(got.header)); err != nil {
			return nil, err
		}
	}
}

// attempt sends a request once. It returns a failure unless the server answers with success.
func (r *remote) attempt(ctx context.Context, req *request, opts *HTTPOptions) (*answer, *RequestError) {
	sent := *req
	sent.header = req.header.Clone() // a client may change it
	resp, err := r.send(ctx, r.client, &sent, opts)
	if err != nil {
		return new(answer), &RequestError{Err: err}
	}
	defer resp.body.Close()
	got := &answer{header: resp.Header, length: resp.ContentLength}
	got.body, err = io.ReadAll(io.LimitReader(resp.body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent: // as in Nix
		if err == nil && !resp.sentAll {
			err = errAnsweredEarly
		}
		if message, ok := s3Message(got.body); ok && err == nil && r.opts.S3 != nil {
			err = errors.New(message) // S3 may send the status before it knows the outcome
		}
		if err == nil && req.check != nil {
			err = req.check(got)
		}
		if err != nil {
			return got, &RequestError{Err: err}
		}
		return got, nil
	}
	return got, &RequestError{Status: resp.StatusCode, Answer: messageOf(resp.StatusCode, got.body)}
}

// oneLine returns the beginning of a server's text in one line, without control characters.
func oneLine(text []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "\uFFFD")), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirected returns the URL to which a server redirects an upload. It must have the same origin.
func (r *remote) redirected(from *url.URL, h http.Header) (*url.URL, error) {
	to, err := from.Parse(h.Get("Location"))
	if err != nil {
		return nil, &redirectError{"an invalid URL"}
	}
	if !sameOrigin(from, to) {
		shown := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path} // the query may be a signature
		return nil, &redirectError{oneLine([]byte(shown.String()))}
	}
	to.User = from.User
	return to, nil
}

// sentBodies are the bodies of one request. The transport reads one of them, or several if it repeats the request
// itself. It may read and close them on its own goroutine, after the response has arrived.
type sentBodies struct {
	request *request
	phases  *phases
	opts    *HTTPOptions

	mu    sync.Mutex // held during a read
	ended bool
	read  int64     // the largest number of bytes that were read of one body
	since time.Time // the first read
}

// attach sets the body of a request.
func (b *sentBodies) attach(req *http.Request) {
	req.ContentLength = b.request.size
	if b.request.size == 0 {
		req.Body = http.NoBody
		return
	}
	req.Body = b.open()
	req.GetBody = func() (io.ReadCloser, error) { return b.open(), nil }
}

func (b *sentBodies) open() *sentBody {
	return &sentBody{b, io.NewSectionReader(b.request.body, 0, b.request.size)}
}

// end waits for the current read, and makes all further reads fail: the caller is about to close the file. It reports
// whether a body was read to its end.
func (b *sentBodies) end() (complete bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return b.read == b.request.size
}

// A sentBody is a body of a request. Between two reads, the transport sends what it has read, which must not take
// longer than StallTimeout. After the last read, buffers on the way may still have a part of the body, and a proxy may
// pass it on only then. So the server has as long to answer as the body has taken, and ResponseTimeout more.
type sentBody struct {
	*sentBodies
	src *io.SectionReader
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	const most = 64 << 10 // a slow connection sends this much within the timeout
	n, err := b.src.Read(p[:min(len(p), most)])
	offset, _ := b.src.Seek(0, io.SeekCurrent)
	b.read = max(b.read, offset)
	if b.since.IsZero() {
		b.since = time.Now()
	}
	switch timeout := b.opts.ResponseTimeout; {
	case err == nil && offset < b.src.Size():
		b.phases.enter(b.opts.StallTimeout, errUploadStalled)
	case timeout < 0:
		b.phases.enter(timeout, errNoResponse)
	default:
		b.phases.enter(timeout+time.Since(b.since), errNoResponse)
	}
	return n, err
}

func (b *sentBody) Close() error { return nil }
