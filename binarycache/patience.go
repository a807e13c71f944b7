package binarycache

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"pix/internal/compression"
)

// enoughProgress is how many bytes have to come for failures before them to be forgotten.
const enoughProgress = 64 << 10

// A patience says how often and how long something is tried again.
type patience struct {
	opts     *HTTPOptions
	failures int
	since    time.Time // of the first of them
	came     int       // bytes since the last one
}

// progress notes that so many bytes have come.
func (p *patience) progress(n int) {
	if p.failures == 0 {
		return
	}
	if p.came += n; p.came >= enoughProgress {
		p.failures = 0
	}
}

// wait waits until it is time to try again after a failure, and no less than the server
// has asked for. It returns the failure if nothing is to be tried again, and why the context
// has ended if it has.
func (p *patience) wait(ctx context.Context, failure *RequestError, atLeast time.Duration) error {
	p.came = 0
	if p.failures++; p.failures == 1 {
		p.since = time.Now()
	}
	failure.Tries = p.failures
	if p.failures >= p.opts.Tries || !isTransient(failure) {
		return failure
	}
	pause := max(p.pause(failure.Status), atLeast)
	if time.Since(p.since)+pause > p.opts.RetryTimeout {
		return failure
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// pause returns how long to wait if the server does not say it: longer after each failure, and not as
// long as every other client.
func (p *patience) pause(status int) time.Duration {
	pause := p.opts.RetryDelay
	if status == http.StatusTooManyRequests {
		pause = p.opts.RateLimitedDelay
	}
	pause = min(max(pause, 1), p.opts.MaxRetryDelay) << min(p.failures-1, 10)
	if !p.opts.NoJitter {
		pause += time.Duration(rand.Int64N(int64(pause)/2 + 1))
	}
	return min(pause, p.opts.MaxRetryDelay)
}

// isTransient reports whether something may go better the next time.
func isTransient(failure *RequestError) bool {
	switch status := failure.Status; {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return true
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported,
		status == http.StatusNetworkAuthenticationRequired:
		return false
	case status != 0:
		return status >= 500
	}
	var (
		certificate *tls.CertificateVerificationError
		name        *net.DNSError
		method      *compression.MethodError
	)
	switch err := failure.Err; {
	case errors.Is(err, errRedirects), errors.Is(err, errReplaced), errors.As(err, &certificate), errors.As(err, &method):
		return false
	case errors.As(err, &name):
		return !name.IsNotFound
	}
	return true
}

// retryAfter returns how long a server wants to be left alone; 0 if it does not say.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
