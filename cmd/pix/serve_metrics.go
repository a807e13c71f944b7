package main

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"pix/activity"
	"pix/cacheserver"
)

// A serveObserver prints the events of 'pix serve' and counts them. It serves the counts in the text format of Prometheus.
type serveObserver struct {
	a   *app
	all bool // print each request

	mu     sync.Mutex
	counts map[requestKind]*requestCount
	added  uint64 // paths
	failed uint64 // additions
}

// A requestKind is the set of labels of a request.
type requestKind struct {
	file, method string
	status       int
}

type requestCount struct {
	requests uint64
	bytes    uint64
	seconds  float64
}

func newServeObserver(a *app, all bool) *serveObserver {
	return &serveObserver{a: a, all: all, counts: make(map[requestKind]*requestCount)}
}

// Answered implements [cacheserver.Observer].
func (o *serveObserver) Answered(r cacheserver.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPut {
		r.Method = "other" // a client could invent any number of methods
	}
	key := requestKind{r.File, r.Method, r.Status}
	o.mu.Lock()
	c := o.counts[key]
	if c == nil {
		c = new(requestCount)
		o.counts[key] = c
	}
	c.requests++
	c.bytes += uint64(r.Bytes)
	c.seconds += r.Duration.Seconds()
	o.mu.Unlock()
	if !o.all && r.Err == nil {
		return
	}
	line := fmt.Sprintf("pix: %s %s %q: %d, %d bytes, %v", r.Remote, r.Method, r.Path, r.Status, r.Bytes, r.Duration.Round(time.Microsecond))
	if r.Err != nil {
		line += ": " + errorText(r.Err)
	}
	fmt.Fprintln(o.a.stderr, activity.Plain(line))
}

// Added implements [cacheserver.Observer].
func (o *serveObserver) Added(added cacheserver.Addition) {
	o.mu.Lock()
	o.added += uint64(len(added.Added))
	if added.Err != nil {
		o.failed++
	}
	o.mu.Unlock()
	line := fmt.Sprintf("pix: adding '%s' to the first store: %d paths in %v", added.Path, len(added.Added), added.Duration.Round(time.Microsecond))
	switch {
	case added.Err != nil:
		line += ": " + errorText(added.Err)
	case !o.all:
		return
	}
	fmt.Fprintln(o.a.stderr, activity.Plain(line))
}

// ServeHTTP serves the metrics.
func (o *serveObserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, o.text())
}

// text returns the metrics. Labels are words that need no escaping.
func (o *serveObserver) text() string {
	o.mu.Lock()
	keys := make([]requestKind, 0, len(o.counts))
	counts := make(map[requestKind]requestCount, len(o.counts))
	for k, c := range o.counts {
		keys = append(keys, k)
		counts[k] = *c
	}
	added, failed := o.added, o.failed
	o.mu.Unlock()
	slices.SortFunc(keys, func(a, b requestKind) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.method, b.method), cmp.Compare(a.status, b.status))
	})
	var b strings.Builder
	metric := func(name, typ, help string, value func(requestCount) any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
		for _, k := range keys {
			fmt.Fprintf(&b, "%s{file=%q,method=%q,status=\"%d\"} %v\n", name, k.file, k.method, k.status, value(counts[k]))
		}
	}
	metric("pix_cache_requests_total", "counter", "Requests that were answered.", func(c requestCount) any { return c.requests })
	metric("pix_cache_sent_bytes_total", "counter", "Bytes of bodies that were sent.", func(c requestCount) any { return c.bytes })
	metric("pix_cache_request_seconds_total", "counter", "Time between requests and the ends of their responses.", func(c requestCount) any { return c.seconds })
	single := func(name, typ, help string, value any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, typ, name, value)
	}
	single("pix_cache_added_paths_total", "counter", "Paths that were added from upstream caches.", added)
	single("pix_cache_failed_additions_total", "counter", "Fetched paths that could not be added.", failed)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	single("go_goroutines", "gauge", "Number of goroutines.", runtime.NumGoroutine())
	single("go_memstats_sys_bytes", "gauge", "Memory obtained from the system.", memory.Sys)
	return b.String()
}
