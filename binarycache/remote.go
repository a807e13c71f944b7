package binarycache

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
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
	errRedirects    = fmt.Errorf("it goes on after %d redirections", maxRedirects)
	errNoConnection = errors.New("no connection within the timeout (connect-timeout)")
	errNoResponse   = errors.New("the server does not answer")
	errStalled      = errors.New("the download has stalled")
)

func newRemote(base *url.URL, opts *HTTPOptions) (*remote, error) {
	r := &remote{base: base, opts: opts, netrc: netrc{file: opts.Netrc}}
	if opts.Client == nil {
		var err error
		if r.own, err = newTransport(opts, base.Scheme == "https"); err != nil {
			return nil, err
		}
		r.client = &http.Client{Transport: r.own, CheckRedirect: r.checkRedirect}
		return r, nil
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
	return r, nil
}

// testRoots are the roots that tests trust; nil is those of the system.
var testRoots *x509.CertPool

// longestConnect bounds a connection attempt that outlives its request. The timeout of each request is
// shorter: see phases.
const longestConnect = 5 * time.Minute

// newTransport returns the transport of the store's own client. A cache behind HTTP needs TLS only after a
// redirect, so an error of the options for TLS fails that request.
func newTransport(opts *HTTPOptions, needsTLS bool) (*http.Transport, error) {
	tlsConfig, err := opts.tlsConfig()
	if err != nil && needsTLS {
		return nil, err
	}
	t := &http.Transport{
		Proxy:                  opts.Proxy,
		DialContext:            (&net.Dialer{Timeout: longestConnect}).DialContext,
		TLSHandshakeTimeout:    longestConnect,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      !opts.NoHTTP2,
		MaxIdleConnsPerHost:    opts.Parallel,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// What has come of an archive waits in memory until somebody reads it.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20},
	}
	if err != nil {
		t.DialTLSContext = func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	if opts.NoHTTP2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	return t, nil
}

// tlsConfig returns which servers to trust, and as which client to identify.
func (o *HTTPOptions) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: testRoots}
	if o.CAFile != "" {
		c.RootCAs = x509.NewCertPool() // trusts no server
		text, err := readLimited(o.CAFile, maxCertificates)
		if err != nil {
			return c, fmt.Errorf("reading certificate authorities (ssl-cert-file): %w", err)
		}
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return c, fmt.Errorf("the file '%s' (ssl-cert-file) has no certificates", o.CAFile)
		}
	}
	if o.Certificate == "" && o.PrivateKey == "" {
		return c, nil
	}
	// One file may contain both.
	certificate, err := tls.LoadX509KeyPair(cmp.Or(o.Certificate, o.PrivateKey), cmp.Or(o.PrivateKey, o.Certificate))
	if err != nil {
		return c, fmt.Errorf("tls-certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{certificate}
	return c, nil
}

// maxCertificates is the largest size of a file with certificate authorities, in bytes.
const maxCertificates = 16 << 20

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
func (r *remote) ask(ctx context.Context, u *url.URL, header http.Header, opts *HTTPOptions) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &phases{cancel: cancel}
	p.enter(opts.ResponseTimeout, errNoResponse) // a client of the caller need not trace connections
	req, err := http.NewRequestWithContext(p.trace(ctx, opts), http.MethodGet, u.String(), nil)
	if err != nil {
		p.end()
		cancel(nil)
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", opts.UserAgent)
	r.logIn(req, nil)
	resp, err := r.client.Do(req)
	p.end()
	if err != nil {
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	body := &watchedBody{src: resp.Body, ctx: ctx, cancel: cancel, timeout: opts.StallTimeout, speed: opts.DownloadSpeed}
	return &answer{resp, body}, nil
}

// phases cancel a request whose current phase takes too long. A redirected request has each phase again.
type phases struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// trace returns a context in which the connection of a request, with its TLS handshake, has a timeout of its
// own. A connection that exists already takes no time.
func (p *phases) trace(ctx context.Context, opts *HTTPOptions) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.enter(opts.ConnectTimeout, errNoConnection) },
		GotConn: func(httptrace.GotConnInfo) { p.enter(opts.ResponseTimeout, errNoResponse) },
	})
}

// enter begins a phase, which ends the one before. A negative timeout is no limit.
func (p *phases) enter(timeout time.Duration, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if timeout >= 0 && !p.ended {
		p.timer = time.AfterFunc(timeout, func() { p.cancel(cause) })
	}
}

// end ends all phases.
func (p *phases) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// because returns why a request ended: what ended its context, or else the error without
// the URL, which is told elsewhere.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return redact.Error(err)
}

// A watchedBody is the body of an answer. A read fails when the reader has waited for stallBytes longer than
// the timeout. The time between reads does not count.
type watchedBody struct {
	src     io.ReadCloser
	ctx     context.Context // of the request
	cancel  context.CancelCauseFunc
	timeout time.Duration // negative is no limit
	speed   int64         // bytes a second; 0 is no limit

	timer *time.Timer
	left  time.Duration // to wait
	got   int           // of stallBytes
	begun time.Time     // the first read
	total int64         // bytes since then
}

// stallBytes is how many bytes must come in the time for a stall.
const stallBytes = 1024

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timeout < 0 {
		n, err := b.src.Read(p)
		return b.paced(n, err)
	}
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
	return b.paced(n, err)
}

// paced returns the result of a read, late enough for the body to keep its speed.
func (b *watchedBody) paced(n int, err error) (int, error) {
	if err != nil && err != io.EOF {
		err = because(b.ctx, err)
	}
	if b.speed <= 0 {
		return n, err
	}
	if b.begun.IsZero() {
		b.begun = time.Now()
	}
	b.total += int64(n)
	due := time.Duration(float64(b.total) / float64(b.speed) * float64(time.Second))
	timer := time.NewTimer(due - time.Since(b.begun))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.ctx.Done():
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
