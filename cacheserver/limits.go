package cacheserver

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// places limits how many requests do something at a time.
type places struct {
	taken   chan struct{}
	waiting atomic.Int64
}

func newPlaces(n int) *places { return &places{taken: make(chan struct{}, n)} }

// smallReads is how many small archives are read at a time. None waits for a client.
const smallReads = 16

// maxWait is how long a request waits for a place. It is less than the timeout of clients.
const maxWait = 45 * time.Second

// errBusy is the error of a request that did not get a place. Clients retry it.
var errBusy = &statusError{http.StatusServiceUnavailable, "the server is busy"}

// acquire waits for a place, which the caller must release. The error is errBusy, or the cause of the end of ctx.
func (p *places) acquire(ctx context.Context) error {
	select {
	case p.taken <- struct{}{}:
		return nil
	default:
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case p.taken <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *places) release() { <-p.taken }
