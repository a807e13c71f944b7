package binarycache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"

	"pix/internal/redact"
)

// A remote is a cache behind HTTP.
type remote struct {
	base   *url.URL // ends in a slash
	opts   *HTTPOptions
	client *http.Client
	own    *http.Transport // nil if the client is the caller's
	netrc  netrc
}

// maxRedirects is how often a server may send somewhere else, as in Nix.
const maxRedirects = 10

var (
	errRedirects  = fmt.Errorf("it goes on after %d redirections", maxRedirects)
	errNoResponse = errors.New("the server does not answer")
	errStalled    = errors.New("the download has stalled")
)

func newRemote(base *url.URL, opts *HTTPOptions) *remote {
	r := &remote{base: base, opts: opts, netrc: netrc{file: opts.Netrc}}
	if opts.Client == nil {
		r.own = newTransport(opts)
		r.client = &http.Client{Transport: r.own, CheckRedirect: r.checkRedirect}
		return r
	}
	client := *opts.Client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		err := r.checkRedirect(req, via)
		if err == nil && opts.Client.CheckRedirect != nil {
			err = opts.Client.CheckRedirect(req, via)
		}
		return err
	}
	r.client = &client
	return r
}

// testRoots are the roots that tests trust; nil is those of the system.
var testRoots *x509.CertPool

func newTransport(opts *HTTPOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: opts.ConnectTimeout}
	return &http.Transport{
		Proxy:                  opts.Proxy,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    opts.ConnectTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: testRoots},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    opts.Parallel,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// What has come of an archive waits in memory until somebody reads it.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20},
	}
}

func (r *remote) close() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// Small files may be compressed for the way. Archives are compressed already, and go on in
// the middle when a download breaks, for which they have to come as they are.
const (
	acceptSmall   = "zstd, br, gzip"
	acceptArchive = "identity"
)

func (r *remote) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	return r.newDownload(ctx, r.fileURL(name), acceptSmall, uint64(limit)).readWhole(limit)
}

func (r *remote) open(ctx context.Context, name string) (io.ReadCloser, error) {
	return r.newDownload(ctx, r.fileURL(name), acceptSmall, math.MaxUint64).start()
}

func (r *remote) fileURL(name string) *url.URL { return r.base.ResolveReference(&url.URL{Path: name}) }

// openArchive resolves the URL of a narinfo as Nix does: it may have parameters, and be
// somewhere else altogether. What comes from there has to be the right archive all the
// same.
func (r *remote) openArchive(ctx context.Context, ref string, size uint64) (io.ReadCloser, error) {
	u, err := r.base.Parse(ref)
	if err != nil {
		return nil, redact.Error(err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the URL '%s' is not one of HTTP", redact.URL(u.String()))
	}
	u.Fragment = ""
	d := r.newDownload(ctx, u, acceptArchive, size)
	d.verified = true
	return d.start()
}

// An answer is one that has begun to come.
type answer struct {
	*http.Response
	body *watchedBody
}

// ask sends one request and waits for the answer to begin.
func (r *remote) ask(ctx context.Context, u *url.URL, header http.Header) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", r.opts.UserAgent)
	r.logIn(req, nil)
	timer := time.AfterFunc(r.opts.ResponseTimeout, func() { cancel(errNoResponse) })
	resp, err := r.client.Do(req)
	timer.Stop()
	if err != nil {
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	return &answer{resp, &watchedBody{src: resp.Body, ctx: ctx, cancel: cancel, timeout: r.opts.StallTimeout}}, nil
}

// because returns why a request ended: what ended its context, or else the error without
// the URL, which is told elsewhere.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return redact.Error(err)
}

// A watchedBody is the body of an answer. It fails when somebody has waited too long for
// stallBytes of it; how long it takes them to come back for more does not count.
type watchedBody struct {
	src     io.ReadCloser
	ctx     context.Context // of the request
	cancel  context.CancelCauseFunc
	timeout time.Duration

	timer *time.Timer
	left  time.Duration // to wait
	got   int           // of stallBytes
}

// stallBytes is how many bytes must come in the time for a stall.
const stallBytes = 1024

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.left = b.timeout
		b.timer = time.AfterFunc(b.left, func() { b.cancel(errStalled) })
	} else {
		b.timer.Reset(b.left)
	}
	start := time.Now()
	n, err := b.src.Read(p)
	b.timer.Stop()
	b.left = max(b.left-time.Since(start), 1)
	if b.got += n; b.got >= stallBytes {
		b.got, b.left = 0, b.timeout
	}
	if err != nil && err != io.EOF {
		err = because(b.ctx, err)
	}
	return n, err
}

// Close ends the request.
func (b *watchedBody) Close() error {
	err := b.src.Close()
	b.cancel(nil)
	return err
}

// drain reads a little more, so that the connection can be used again.
func (b *watchedBody) drain() {
	const most = 16 << 10
	io.CopyN(io.Discard, b, most)
}
