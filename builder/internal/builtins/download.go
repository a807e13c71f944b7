package builtins

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pix/internal/contextio"
	"pix/internal/netrc"
)

const (
	attempts       = 5 // Nix's download-attempts
	connectTimeout = 15 * time.Second
	stalledTimeout = 300 * time.Second
	progressEvery  = 500 * time.Millisecond
	maxRedirects   = 10
	maxErrorBody   = 64 << 10 // bytes of the text that comes with an error
)

// retryAfter is how long a download waits before its second attempt; each further attempt doubles the time.
// retryAfterRefused is used instead if the server answers "too many requests".
var (
	retryAfter        = 250 * time.Millisecond
	retryAfterRefused = 5 * time.Second
)

// A downloader downloads files, as Nix does with libcurl.
type downloader struct {
	client *http.Client
	log    *logger
	logins []netrc.Entry
}

// newDownloader returns a downloader with the logins, authorities and proxies of the input.
func newDownloader(in *Input, log *logger) (*downloader, error) {
	logins, err := netrc.Parse(string(in.Netrc))
	if err != nil {
		log.warn("the netrc file cannot be read: %v", err)
	}
	d := &downloader{log: log, logins: logins}
	transport := &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxyFor(in.Proxies, r.URL) },
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: stalledTimeout,
		ForceAttemptHTTP2:     true,
	}
	if len(in.Certificates) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(in.Certificates) {
			return nil, errors.New("the file with the certificates of authorities has none")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	d.client = &http.Client{Transport: &authorizer{transport, d}, CheckRedirect: checkRedirect}
	return d, nil
}

func (d *downloader) close() { d.client.CloseIdleConnections() }

// checkRedirect limits the number of redirects, and allows only HTTP and HTTPS. A server must not redirect to a file
// of this machine.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errTooManyRedirects
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return fmt.Errorf("%w: Protocol \"%s\" disabled in redirect", errProtocol, r.URL.Scheme)
	}
	return nil
}

var (
	errTooManyRedirects = errors.New("Maximum (10) redirects followed")
	errProtocol         = errors.New("Unsupported protocol")
)

// An authorizer adds logins to requests that have none.
type authorizer struct {
	*http.Transport
	d *downloader
}

// RoundTrip implements [http.RoundTripper].
func (a *authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" && r.URL.User == nil {
		// After a redirect, a server has chosen the host, so only an entry for exactly this host applies.
		redirected := r.Response != nil
		for _, e := range a.d.logins {
			if e.IsFor(r.URL.Hostname(), "", redirected) {
				r = r.Clone(r.Context())
				r.SetBasicAuth(e.Login, e.Password)
				break
			}
		}
	}
	return a.Transport.RoundTrip(r)
}

// A downloadError says why a download failed.
type downloadError struct {
	text      string
	transient bool          // another attempt may succeed
	wait      time.Duration // before it
}

func (e *downloadError) Error() string { return e.text }

// download writes the file at a URL to dst. After a transient error it tries again. If the server supports ranges,
// the next attempt resumes where the last one stopped.
func (d *downloader) download(ctx context.Context, address string, dst io.Writer) error {
	if name, ok := strings.CutPrefix(address, "file://"); ok {
		return copyLocal(ctx, address, name, dst)
	}
	job := &transferJob{d: d, url: address, dst: dst, activity: d.log.startTransfer(address)}
	defer job.activity.stop()
	for attempt := 1; ; attempt++ {
		err := job.try(ctx)
		failure, ok := errors.AsType[*downloadError](err)
		if !ok || !failure.transient || attempt == attempts || job.written > 0 && !job.resumable {
			return err
		}
		wait := time.Duration(float64(failure.wait) * float64(int(1)<<(attempt-1)) * (1 + rand.Float64()/2))
		from := ""
		if job.written > 0 {
			from = fmt.Sprintf(" from offset %d", job.written)
		}
		d.log.warn("%s; retrying%s in %d ms (attempt %d/%d)", failure.text, from, wait.Milliseconds(), attempt, attempts)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// copyLocal writes a file of the sandbox to dst.
func copyLocal(ctx context.Context, address, name string, dst io.Writer) error {
	if path, err := url.PathUnescape(name); err == nil {
		name = path
	}
	name = strings.TrimPrefix(name, "localhost")
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &downloadError{text: fmt.Sprintf("unable to download '%s': Could not read a file:// file (37) Could not open file %s", address, name)}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return &downloadError{text: fmt.Sprintf("unable to download '%s': Could not read a file:// file (37) %s is not a regular file", address, name)}
	}
	_, err = io.Copy(dst, contextio.NewReader(ctx, f))
	return err
}

// A transferJob is one download, with all its attempts.
type transferJob struct {
	d         *downloader
	url       string
	dst       io.Writer
	activity  transfer
	written   int64
	resumable bool
	began     time.Time // of the attempt
}

// try makes one attempt.
func (j *transferJob) try(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j.began = time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return &downloadError{text: fmt.Sprintf("unable to download '%s': URL using bad/illegal format or missing URL (3) %v", j.url, err)}
	}
	request.Header.Set("User-Agent", "curl/8 Nix/2.34.8 pix")
	if j.written > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(j.written, 10)+"-")
	}
	response, err := j.d.client.Do(request)
	if err != nil {
		return j.failed(ctx, err)
	}
	defer response.Body.Close()
	if err := j.checkStatus(response); err != nil {
		return err
	}
	if j.written == 0 {
		j.resumable = response.Header.Get("Accept-Ranges") == "bytes" && response.Header.Get("Content-Encoding") == "" && !response.Uncompressed
	}
	return j.copy(ctx, cancel, response)
}

// checkStatus returns an error unless the body of the response is the file, or the missing part of it.
func (j *transferJob) checkStatus(r *http.Response) error {
	switch r.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		if j.written == 0 {
			return nil
		}
		return &downloadError{text: fmt.Sprintf("unable to download '%s': Requested range was not delivered by the server (33) HTTP server does not seem to support byte ranges. Cannot resume.", j.url)}
	case http.StatusPartialContent:
		if strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", j.written)) {
			return nil
		}
	}
	failure := &downloadError{text: fmt.Sprintf("unable to download '%s': HTTP error %d", j.url, r.StatusCode), wait: retryAfter}
	switch code := r.StatusCode; {
	case code == http.StatusTooManyRequests:
		failure.transient, failure.wait = true, retryAfterRefused
	case code == http.StatusRequestTimeout:
		failure.transient = true
	case code >= 500:
		failure.transient = code != http.StatusNotImplemented && code != http.StatusHTTPVersionNotSupported && code != http.StatusNetworkAuthenticationRequired
	}
	if body, err := io.ReadAll(io.LimitReader(r.Body, maxErrorBody)); err == nil && len(body) > 0 && (len(body) < 1024 || bytes.Contains(body, []byte("<html>"))) {
		failure.text += "\n\nresponse body:\n\n" + strings.TrimRight(string(body), " \t\r\n")
	}
	return failure
}

// copy writes the body of a response to the destination. It ends the attempt if no data arrives for stalledTimeout.
func (j *transferJob) copy(ctx context.Context, cancel context.CancelCauseFunc, r *http.Response) error {
	stalled := time.AfterFunc(stalledTimeout, func() { cancel(errStalled) })
	defer stalled.Stop()
	size := r.ContentLength
	if size >= 0 {
		size += j.written
	}
	buf := make([]byte, 128<<10)
	var reported time.Time
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			stalled.Reset(stalledTimeout)
			if _, err := j.dst.Write(buf[:n]); err != nil {
				return err
			}
			j.written += int64(n)
		}
		if now := time.Now(); err != nil || now.Sub(reported) > progressEvery {
			j.activity.progress(j.written, size)
			reported = now
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return j.failed(ctx, err)
		}
	}
}

var errStalled = errors.New("nothing was received for 300 seconds")

// failed returns the error of a download with the text and the number of the matching error of libcurl.
func (j *transferJob) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errStalled) {
		return cause
	} else if cause != nil {
		err = cause
	}
	if inURL, ok := errors.AsType[*url.Error](err); ok {
		err = inURL.Err
	}
	host := ""
	if u, parsing := url.Parse(j.url); parsing == nil {
		host = u.Host
		if u.Port() == "" {
			host += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
		}
	}
	failure := &downloadError{transient: true, wait: retryAfter}
	what, number, detail := "Failure when receiving data from the peer", 56, err.Error()
	switch inDNS, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, errStalled):
		what, number = "Timeout was reached", 28
	case isDNS:
		what, number, detail = "Could not resolve hostname", 6, "Could not resolve host: "+inDNS.Name
	case isDial(err):
		what, number, detail = "Could not connect to server", 7, fmt.Sprintf("Failed to connect to %s after %d ms: %s", host, time.Since(j.began).Milliseconds(), dialReason(err))
	case errors.Is(err, errTooManyRedirects):
		what, number, failure.transient = "Number of redirects hit maximum amount", 47, false
	case errors.Is(err, errProtocol), strings.HasPrefix(detail, "unsupported protocol scheme"):
		what, number, failure.transient = "Unsupported protocol", 1, false
	case isCertificate(err):
		what, number = "SSL peer certificate or SSH remote key was not OK", 60
	case errors.Is(err, io.ErrUnexpectedEOF):
		what, number = "Transferred a partial file", 18
	}
	failure.text = fmt.Sprintf("unable to download '%s': %s (%d) %s", j.url, what, number, detail)
	return failure
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// dialReason returns why a connection could not be made, without the addresses.
func dialReason(err error) string {
	if no, ok := errors.AsType[syscall.Errno](err); ok && no != syscall.ECONNREFUSED {
		return no.Error()
	}
	return "Could not connect to server"
}

func isCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}
