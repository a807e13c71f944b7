package cacheserver

import (
	"context"
	"net/http"
	"time"
)

// places limits how many requests do something at a time.
type places chan struct{}

func newPlaces(n int) places { return make(places, n) }

// maxWait is how long a request waits for a place. It is less than the timeout of clients.
const maxWait = 45 * time.Second

// errBusy is the error of a request that did not get a place. Clients retry it.
var errBusy = &statusError{http.StatusServiceUnavailable, "the server is busy"}

// acquire waits for a place, which the caller must release. The error is errBusy, or the cause of the end of ctx.
func (p places) acquire(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case p <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p places) release() { <-p }
