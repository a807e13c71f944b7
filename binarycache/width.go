package binarycache

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// firstRequests and firstArchives are the numbers of small files and of small archives that are requested at
	// once until the answers of a server show whether it bears more.
	firstRequests, firstArchives = 32, 16
	// maxRequests is the default of [HTTPOptions.Parallel].
	maxRequests = 128
	// minRequests is the smallest width after refusals. With a few requests at once, the requests to a server that
	// is down would fail one after the other, each after all its retries.
	minRequests = 16
)

// A width is the number of requests that a server gets at once. It adapts to what the server bears, as the window of
// TCP does. As long as requests wait for their turn and the latency of the answers does not rise, it grows by half
// with each round trip. It shrinks slowly while the latency is twice the lowest one, because then requests only
// wait in the server. If the server refuses requests because there are too many, the width is halved, and from
// then on grows by one with each round trip.
type width struct {
	first, most int

	mu      sync.Mutex
	now     int // the current width
	running int
	waiting list.List // of chan struct{}, each closed when its request may run

	changes int           // how often the width was halved
	answers int           // since the width has grown or shrunk
	latency time.Duration // moving average
	best    time.Duration // the lowest average since the width was halved
}

// newWidth returns a width that starts with first and grows up to most.
func newWidth(first, most int) *width {
	return &width{first: min(first, most), most: most, now: min(first, most)}
}

// acquire waits until another request may run. The caller must call release when the request has ended.
func (w *width) acquire(ctx context.Context) error {
	w.mu.Lock()
	if w.running < w.now && w.waiting.Len() == 0 {
		w.running++
		w.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := w.waiting.PushBack(turn)
	w.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-turn: // its turn came at the same time
		w.running--
		w.start()
	default:
		w.waiting.Remove(place)
	}
	return contextError(ctx)
}

func (w *width) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	w.start()
}

// start starts as many waiting requests as may run.
func (w *width) start() {
	for w.running < w.now && w.waiting.Len() > 0 {
		w.running++
		close(w.waiting.Remove(w.waiting.Front()).(chan struct{}))
	}
}

// A sentRequest is a request whose outcome changes a width. Its width may be nil.
type sentRequest struct {
	width   *width
	changes int // the changes of the width before it was sent
}

// send returns the request that is sent now.
func (w *width) send() sentRequest {
	if w == nil {
		return sentRequest{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return sentRequest{w, w.changes}
}

// answered records the latency of the answer to a request, and lets the width grow.
func (r sentRequest) answered(latency time.Duration) {
	w := r.width
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.changes != w.changes {
		return // more requests were running than now
	}
	if w.latency == 0 {
		w.latency = latency
	}
	w.latency += (latency - w.latency) / 16
	if w.best == 0 || w.latency < w.best {
		w.best = w.latency
	}
	needed := 2 // answers
	if w.changes > 0 {
		needed = w.now
	}
	if w.answers++; w.answers < needed || w.waiting.Len() == 0 {
		return
	}
	w.answers = 0
	switch {
	case w.latency > 2*w.best && w.now > w.first:
		w.now--
	case w.latency <= w.best+w.best/2 && w.now < w.most:
		w.now++
		w.start()
	}
}

// failed halves the width if the server has refused a request because there are too many. Requests that were sent
// before the width was halved do not count: the server refuses many of them for the same reason.
func (r sentRequest) failed(failure *RequestError) {
	w := r.width
	if w == nil || !isRefusal(failure) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.changes != w.changes {
		return
	}
	w.now = max(w.now/2, min(w.now, minRequests))
	w.changes++
	w.answers, w.latency, w.best = 0, 0, 0
}

// isRefusal reports whether a server may have refused a request because it has too many.
func isRefusal(failure *RequestError) bool {
	switch failure.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	for _, err := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF} {
		if errors.Is(failure.Err, err) {
			return true
		}
	}
	return false
}
