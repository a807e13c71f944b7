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

// resetProgress is the number of bytes of progress after which earlier failures no longer count.
const resetProgress = 64 << 10

// A retrier decides whether and when a request is retried.
type retrier struct {
	opts     *HTTPOptions
	failures int
	since    time.Time // of the first failure
	received int       // bytes received since the last failure
}

// progress adds n received bytes.
func (r *retrier) progress(n int) {
	if r.failures == 0 {
		return
	}
	if r.received += n; r.received >= resetProgress {
		r.failures = 0
	}
}

// wait waits until it is time to retry after a failure, and at least as long as the server asks for. It returns
// the failure if there is no retry, or the error of the context if it ends.
func (r *retrier) wait(ctx context.Context, failure *RequestError, atLeast time.Duration) error {
	r.received = 0
	if r.failures++; r.failures == 1 {
		r.since = time.Now()
	}
	failure.Tries = r.failures
	if r.failures >= r.opts.Tries || !isTransient(failure) || r.isUnreachable(failure.Err) {
		return failure
	}
	pause := max(r.pause(failure.Status), atLeast)
	if pause > r.opts.RetryTimeout-time.Since(r.since) { // a sum may overflow: a server may ask for centuries
		return failure
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// isUnreachable reports whether the server could not be reached in the attempts that ConnectTries allows.
func (r *retrier) isUnreachable(err error) bool {
	if r.opts.ConnectTries <= 0 {
		return false
	}
	op, failed := errors.AsType[*net.OpError](err)
	return errors.Is(err, errNoConnection) || failed && op.Op == "dial" && r.failures >= r.opts.ConnectTries
}

// pause returns the pause before the next retry: longer after each failure, and with a random part, so that
// clients do not retry at the same time.
func (r *retrier) pause(status int) time.Duration {
	pause := r.opts.RetryDelay
	if status == http.StatusTooManyRequests {
		pause = r.opts.RateLimitedDelay
	}
	pause = min(max(pause, 1), r.opts.MaxRetryDelay) << min(r.failures-1, 10)
	if !r.opts.NoJitter {
		pause += time.Duration(rand.Int64N(int64(pause)/2 + 1))
	}
	return min(pause, r.opts.MaxRetryDelay)
}

// isTransient reports whether a retry may succeed.
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
	case errors.Is(err, errRedirects), errors.As(err, new(*redirectError)), errors.Is(err, errOtherOrigin), errors.Is(err, errReplaced), errors.As(err, &certificate), errors.As(err, &method):
		return false
	case isPermanent(err):
		return false
	case errors.As(err, &name):
		return !name.IsNotFound
	}
	return true
}

// isPermanent reports whether a client of the caller says that a retry is useless.
func isPermanent(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && e.Permanent()
}

// retryAfter returns the wait that a server asks for; 0 if there is none.
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
