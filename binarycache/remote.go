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

// A remote accesses a cache behind HTTP.
type remote struct {
	base          *url.URL // ends in a slash
	opts          *HTTPOptions
	client        *http.Client
	largeClient   *http.Client      // for the first attempt at a large archive; see newLargeClient
	large         chan struct{}     // has an element for each download with largeClient
	ownTransports []*http.Transport // none for a client of the caller
	netrc         netrc
	requests      *width // of small files
	archives      *width
}

// maxRedirects is the number of redirects that a request follows, as in Nix.
const maxRedirects = 10

var (
	errRedirects    = fmt.Errorf("stopped after %d redirects", maxRedirects)
	errNoConnection = errors.New("no connection within the timeout (connect-timeout)")
	errNoResponse   = errors.New("the server does not answer")
	errStalled      = errors.New("the download has stalled")
)

func newRemote(base *url.URL, opts *HTTPOptions) (*remote, error) {
	r := &remote{
		base: base, opts: opts, large: make(chan struct{}, min(opts.Parallel, maxLarge)), netrc: netrc{file: opts.Netrc},
		requests: newWidth(firstRequests, opts.Parallel), archives: newWidth(firstArchives, opts.Parallel),
	}
	if opts.Client == nil {
		var err error
		if r.client, err = r.newClient(opts); err == nil {
			r.largeClient, err = r.newLargeClient()
		}
		return r, err
	}
	client := *opts.Client
	if opts.Wrap != nil {
		if client.Transport == nil {
			client.Transport = http.DefaultTransport
		}
		client.Transport = opts.Wrap(client.Transport)
	}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		err := r.checkRedirect(req, via)
		if err == nil && opts.Client.CheckRedirect != nil {
			err = opts.Client.CheckRedirect(req, via)
		}
		return err
	}
	r.client, r.largeClient = &client, &client
	return r, nil
}

// newClient returns a client of the store's own.
func (r *remote) newClient(opts *HTTPOptions) (*http.Client, error) {
	t, err := newTransport(opts, r.base.Scheme == "https")
	if err != nil {
		return nil, err
	}
	r.ownTransports = append(r.ownTransports, t)
	client := &http.Client{Transport: t, CheckRedirect: r.checkRedirect}
	if opts.Wrap != nil {
		client.Transport = opts.Wrap(t)
	}
	return client, nil
}

// newLargeClient returns a client without HTTP/2 if the other one has it. A large archive has a
// connection of its own, because a stream of HTTP/2 stops at its window and takes 1.6 times the
// processor time: with a round trip of 20 ms, 300 MB took more than twice as long.
func (r *remote) newLargeClient() (*http.Client, error) {
	if r.base.Scheme != "https" || r.opts.NoHTTP2 {
		return r.client, nil
	}
	opts := *r.opts
	opts.NoHTTP2 = true
	return r.newClient(&opts)
}

const (
	// streamWindow is the number of received bytes of a stream of HTTP/2 that may wait in memory
	// until they are read.
	streamWindow = 4 << 20
	// largeArchive is the size of an archive that has a connection of its own. Its compressed file
	// usually exceeds streamWindow.
	largeArchive = 4 * streamWindow
)

// testRoots are the certificate authorities that tests trust; nil means the ones of the system.
var testRoots *x509.CertPool

// maxConnect bounds a connection attempt that outlives its request. The timeout of each request is
// shorter: see phases.
const maxConnect = 5 * time.Minute

// newTransport returns the transport of the store's own client. A cache behind HTTP needs TLS only after a
// redirect, so an error of the options for TLS fails that request.
func newTransport(opts *HTTPOptions, needsTLS bool) (*http.Transport, error) {
	tlsConfig, err := opts.tlsConfig()
	if err != nil && needsTLS {
		return nil, err
	}
	t := &http.Transport{
		Proxy:                  opts.Proxy,
		DialContext:            (&net.Dialer{Timeout: maxConnect}).DialContext,
		TLSHandshakeTimeout:    maxConnect,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      !opts.NoHTTP2,
		ExpectContinueTimeout:  time.Second, // as in curl
		MaxIdleConnsPerHost:    opts.Parallel,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
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

// tlsConfig returns the TLS configuration: the trusted authorities and the client certificate.
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
	for _, t := range r.ownTransports {
		t.CloseIdleConnections()
	}
}

// Small files may be compressed in transit. Archives are compressed already, and a broken download of
// one is resumed in the middle, which requires that it is sent as it is.
const (
	acceptSmall   = "zstd, br, gzip"
	acceptArchive = "identity"
)

func (r *remote) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	d := r.newDownload(ctx, r.fileURL(name), acceptSmall, uint64(limit))
	d.width = r.requests
	return d.readWhole(limit)
}

func (r *remote) open(ctx context.Context, name string) (io.ReadCloser, error) {
	return r.newDownload(ctx, r.fileURL(name), acceptSmall, math.MaxUint64).start()
}

func (r *remote) fileURL(name string) *url.URL { return r.base.ResolveReference(&url.URL{Path: name}) }

// openArchive resolves the URL of a narinfo as Nix does: it may have parameters, and name another
// host. The archive is verified in any case.
func (r *remote) openArchive(ctx context.Context, ref string, size uint64) (io.ReadCloser, error) {
	u, err := r.base.Parse(ref)
	if err != nil {
		return nil, redact.Error(err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the URL '%s' is not an HTTP URL", redact.URL(u.String()))
	}
	if err := r.checkOrigin(u); err != nil {
		return nil, err
	}
	u.Fragment = ""
	d := r.newDownload(ctx, u, acceptArchive, size)
	d.verified = true
	if size >= largeArchive {
		d.useLargeClient()
	} else {
		d.width = r.archives
	}
	return d.start()
}

// A response is a response whose body can be read.
type response struct {
	*http.Response
	body    *watchedBody
	sentAll bool          // the body of the request was sent to its end
	latency time.Duration // from the connection to the header
}

// A request is a request to be sent, which may have a body that can be read repeatedly.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   io.ReaderAt // nil if there is none
	size   int64       // of the body

	check func(*answer) error // checks the answer of a success; an error is a transient failure; nil checks nothing
}

// send sends one request and waits for the header of the response. It does not read the body of the request after it
// has returned.
func (r *remote) send(ctx context.Context, client *http.Client, sending *request, opts *HTTPOptions) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &phases{cancel: cancel}
	p.enter(opts.ResponseTimeout, errNoResponse) // the caller's own client may not trace connections
	req, err := http.NewRequestWithContext(p.trace(ctx, opts), sending.method, sending.url.String(), nil)
	if err != nil {
		p.end()
		cancel(nil)
		return nil, err
	}
	req.Header = sending.header
	req.Header.Set("User-Agent", opts.UserAgent)
	sent := &sentBodies{request: sending, phases: p, opts: opts}
	if sending.body != nil {
		sent.attach(req)
	}
	r.logIn(req, nil)
	resp, err := client.Do(req)
	sentAll := sent.end()
	latency := p.end()
	if err != nil {
		err = requestError(ctx, err)
		cancel(nil)
		return nil, err
	}
	body := &watchedBody{src: resp.Body, ctx: ctx, cancel: cancel, timeout: opts.StallTimeout, speed: opts.DownloadSpeed}
	return &response{resp, body, sentAll, latency}, nil
}

// phases cancels a request whose current phase takes too long. Each redirect starts the phases again.
type phases struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	began time.Time // of the current phase
	ended bool
}

// trace returns a context that gives the connection attempt of a request, with its TLS handshake, a timeout
// of its own. Reusing an idle connection takes no time.
func (p *phases) trace(ctx context.Context, opts *HTTPOptions) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.enter(opts.ConnectTimeout, errNoConnection) },
		GotConn: func(httptrace.GotConnInfo) { p.enter(opts.ResponseTimeout, errNoResponse) },
	})
}

// enter ends the current phase and begins another one. A negative timeout is no limit.
func (p *phases) enter(timeout time.Duration, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.began = time.Now()
	if timeout >= 0 && !p.ended {
		p.timer = time.AfterFunc(timeout, func() { p.cancel(cause) })
	}
}

// end ends all phases, and returns the duration of the last one.
func (p *phases) end() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
	return time.Since(p.began)
}

// requestError returns the cause of the end of the context if it has ended, or else err without the URL, which
// the caller adds.
func requestError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return redact.Error(err)
}

// A watchedBody is the body of a response. A read fails when the reader has waited for stallBytes longer than
// the timeout. The time between reads does not count.
type watchedBody struct {
	src     io.ReadCloser
	ctx     context.Context // of the request
	cancel  context.CancelCauseFunc
	timeout time.Duration // negative is no limit
	speed   int64         // in bytes per second; 0 is no limit

	timer   *time.Timer
	left    time.Duration // the time left for the current stallBytes
	got     int           // the bytes received of the current stallBytes
	started time.Time     // the first read
	total   int64         // bytes since then
}

// stallBytes is the number of bytes that must arrive within the stall timeout.
const stallBytes = 1024

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timeout < 0 {
		n, err := b.src.Read(p)
		return b.throttle(n, err)
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
	return b.throttle(n, err)
}

// throttle returns the result of a read, after a delay that keeps the body below its speed limit.
func (b *watchedBody) throttle(n int, err error) (int, error) {
	if err != nil && err != io.EOF {
		err = requestError(b.ctx, err)
	}
	if b.speed <= 0 {
		return n, err
	}
	if b.started.IsZero() {
		b.started = time.Now()
	}
	b.total += int64(n)
	due := time.Duration(float64(b.total) / float64(b.speed) * float64(time.Second))
	timer := time.NewTimer(due - time.Since(b.started))
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

// drain reads a small rest of the body, so that the connection can be reused.
func (b *watchedBody) drain() {
	const most = 16 << 10
	io.CopyN(io.Discard, b, most)
}
