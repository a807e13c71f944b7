package cacheserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"pix/store"
)

// places limits how many requests do something at a time.
type places struct {
	taken   chan struct{}
	waiting atomic.Int64
}

func newPlaces(n int) *places { return &places{taken: make(chan struct{}, n)} }

// A budget limits the requests that read from one store. The stores of this machine share one, and each [Upstream] has its
// own: requests that wait for a slow upstream cache must not take the places of others.
type budget struct {
	archives *places // archives that are sent while they are read
	small    *places // archives that are read before they are sent
	work     *places // listings that are computed
	encoders *places // archives that are compressed
}

// smallReads is how many small archives are read at a time. None waits for a client.
const smallReads = 16

func newBudget(opts *Options) *budget {
	return &budget{
		archives: newPlaces(opts.MaxArchives), small: newPlaces(smallReads),
		work: newPlaces(2 * opts.MaxEncoders), encoders: newPlaces(opts.MaxEncoders),
	}
}

// budgets are the budgets of the stores of a handler.
type budgets struct {
	local     *budget
	upstreams map[*Upstream]*budget
}

func newBudgets(stores []store.Store, opts *Options) *budgets {
	all := &budgets{local: newBudget(opts), upstreams: make(map[*Upstream]*budget)}
	for _, s := range stores {
		if u, ok := store.As[*Upstream](s); ok {
			all.upstreams[u] = newBudget(opts)
		}
	}
	return all
}

// of returns the budget of a store.
func (all *budgets) of(s store.Store) *budget {
	if u, ok := store.As[*Upstream](s); ok {
		return all.upstreams[u]
	}
	return all.local
}

// count returns the number of budgets.
func (all *budgets) count() int { return 1 + len(all.upstreams) }

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

// maxIgnoredBody is the number of bytes that the body of a request may have that needs none.
const maxIgnoredBody = 64 << 10

// discardBody receives the body of a request that needs none. Otherwise the server would wait for the body before it sends the
// response, without a deadline, so a client that does not send the body would keep its place.
func discardBody(w *response, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	if w.stall > 0 {
		w.control.SetReadDeadline(time.Now().Add(w.stall / 2)) // a reader without deadlines is no connection
	}
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w.ResponseWriter, r.Body, maxIgnoredBody))
	switch {
	case err == nil:
		if w.stall > 0 {
			w.control.SetReadDeadline(time.Time{}) // the server reads on to notice that the client hangs up
		}
		return nil
	case errors.As(err, new(*http.MaxBytesError)):
		return &statusError{http.StatusRequestEntityTooLarge, "the request has a body, and needs none"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &statusError{http.StatusRequestTimeout, "the body of the request was too slow"}
	}
	return &statusError{http.StatusBadRequest, "the body of the request broke off"}
}
