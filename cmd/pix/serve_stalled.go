package main

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// stallTime is the time for which a server may have waited for a client until another one can take its place.
	stallTime = 15 * time.Second
	// stallRate is the number of bytes per second of this time that a client must send or receive.
	stallRate = 256 << 10 / 15
)

// A clientWait measures how long handlers have waited for the client of a connection, and how many bytes it has sent and
// received in this time. The time for which a client waits for the server does not count.
type clientWait struct {
	mu      sync.Mutex
	waiting int           // number of calls that wait for the client; several streams of HTTP/2 may
	since   time.Time     // when the first of them began
	spent   time.Duration // of earlier calls
	bytes   int64
	pending int64 // number of bytes that these calls send; the client may have received some of them
}

// reset forgets everything before a request.
func (w *clientWait) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent, w.bytes, w.since = 0, 0, time.Now()
}

// begin notes that a call begins to wait for the client. It sends some bytes, or receives an unknown number.
func (w *clientWait) begin(pending int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending += pending
	if w.waiting++; w.waiting == 1 {
		w.since = time.Now()
	}
}

// end notes that such a call has ended, and has transferred n bytes.
func (w *clientWait) end(pending, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending -= pending
	w.bytes += n
	if w.waiting--; w.waiting == 0 {
		w.spent += time.Since(w.since)
	}
}

// check returns the rate of the client in bytes per second. If the client has stalled, left is 0. Otherwise left is the time
// after which it may have.
//
// A client that is fast enough may have received almost all bytes of a call that has not ended. So it has the time for them, but
// not longer than the limit: a client could begin many streams.
func (w *clientWait) check(limit time.Duration) (rate float64, left time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, total := time.Now(), w.spent
	if w.waiting > 0 {
		total += now.Sub(w.since)
	}
	if total < limit {
		return 0, limit - total
	}
	if rate = float64(w.bytes) / total.Seconds(); rate < stallRate {
		due := timeFor(w.bytes) + min(timeFor(w.pending), limit)
		return rate, max(due-total, 0)
	}
	w.spent, w.bytes, w.since = 0, 0, now
	return rate, limit
}

// timeFor returns the longest time in which a client may receive some bytes.
func timeFor(n int64) time.Duration {
	return time.Duration(float64(n) / stallRate * float64(time.Second))
}

// slowest returns the connection of the slowest client that has stalled. If there is none, victim is nil, and wait is the
// time after which there may be one. c.mu is held.
func (c *httpConnections) slowest() (victim *httpConnection, wait time.Duration) {
	wait, lowest := c.stallTime, 0.0
	for _, conn := range c.open {
		if conn.running == 0 {
			continue
		}
		rate, left := conn.wait.check(c.stallTime)
		switch {
		case left > 0:
			wait = min(wait, left)
		case victim == nil || rate < lowest:
			victim, lowest = conn, rate
		}
	}
	return victim, max(wait, c.stallTime/100) // the listener does not check all connections without a pause
}

// observed wraps the request and the response of a handler, so that conn.wait measures the client.
func (conn *httpConnection) observed(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		changed := *r
		changed.Body = &observedBody{r.Body, &conn.wait}
		r = &changed
	}
	return &observedWriter{w, &conn.wait}, r
}

// An observedBody is the body of a request.
type observedBody struct {
	io.ReadCloser
	wait *clientWait
}

func (b *observedBody) Read(p []byte) (n int, err error) {
	b.wait.begin(0)
	defer func() { b.wait.end(0, int64(n)) }()
	return b.ReadCloser.Read(p)
}

// An observedWriter is the response to a request.
type observedWriter struct {
	http.ResponseWriter
	wait *clientWait
}

// Unwrap returns the response of the server, for [http.ResponseController].
func (w *observedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements io.Writer.
func (w *observedWriter) Write(p []byte) (n int, err error) {
	w.wait.begin(int64(len(p)))
	defer func() { w.wait.end(int64(len(p)), int64(n)) }()
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom. The server copies files inside of the kernel. Handlers send a file in small pieces.
func (w *observedWriter) ReadFrom(src io.Reader) (n int64, err error) {
	var pending int64
	if part, ok := src.(*io.LimitedReader); ok {
		pending = part.N
	}
	w.wait.begin(pending)
	defer func() { w.wait.end(pending, n) }()
	return io.Copy(w.ResponseWriter, src)
}

// FlushError sends the buffered bytes. [http.ResponseController] calls it.
func (w *observedWriter) FlushError() error {
	w.wait.begin(0)
	defer w.wait.end(0, 0)
	return http.NewResponseController(w.ResponseWriter).Flush()
}
