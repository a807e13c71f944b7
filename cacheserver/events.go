package cacheserver

import (
	"net/http"
	"time"
)

// A Request is a request that the handler has answered.
type Request struct {
	Method, Path string
	Remote       string // address of the client
	File         string // kind of the file: "narinfo", "archive", "listing", "log", …; "none" if it is no file of a cache

	Status   int
	Bytes    int64 // number of bytes of the body that were sent
	Duration time.Duration

	// Err is the reason why the server or a store failed. It may name files of the server. It is nil for files that the
	// cache does not have, and for clients that hang up or are too slow.
	Err error
}

// An Observer gets the events of a [Handler]. Its methods may be called by several goroutines at once. A request waits until
// they return.
type Observer interface {
	// Answered is called after each request.
	Answered(Request)

	// Added is called after each addition that has added something or failed, until the handler is closed; see [Options.AddFetched].
	Added(Addition)
}

// kindNames are the names of kinds in events.
var kindNames = map[kind]string{
	kindNone: "none", kindStart: "start", kindHealth: "health", kindCacheInfo: "cache-info", kindNarInfo: "narinfo",
	kindArchive: "archive", kindListing: "listing", kindLog: "log", kindRealisation: "realisation", kindTrace: "realisation",
	kindFiles: "file", kindDebugInfo: "debug-info",
}

// observe reports a request to the observer.
func (h *Handler) observe(r *http.Request, n name, w *response, start time.Time, err error) {
	if h.opts.Observer == nil {
		return
	}
	if err != nil {
		if status, _ := statusOf(err); status < http.StatusInternalServerError || w.lost || r.Context().Err() != nil {
			err = nil
		}
	}
	h.opts.Observer.Answered(Request{
		Method: r.Method, Path: r.URL.Path, Remote: r.RemoteAddr, File: kindNames[n.kind],
		Status: w.status, Bytes: w.written, Duration: time.Since(start), Err: err,
	})
}

// observeAddition reports an addition to the observer.
func (h *Handler) observeAddition(a Addition) {
	if h.opts.Observer != nil {
		h.opts.Observer.Added(a)
	}
}
