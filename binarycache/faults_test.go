package binarycache_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/internal/compression"
	"pix/store"
)

func compress(t *testing.T, method, text string) string {
	t.Helper()
	var b strings.Builder
	w, err := compression.Encode(method, &b, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// failures makes the first n requests for narinfos fail.
func (f *fake) failures(n int, fail http.HandlerFunc) {
	var count atomic.Int64
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".narinfo") || count.Add(1) > int64(n) {
			return false
		}
		fail(w, r)
		return true
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

// untilTheEnd refuses requests. From the second one on, it asks the client to wait for the longest time that a date can express.
func untilTheEnd() http.HandlerFunc {
	var count atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		if count.Add(1) > 1 {
			w.Header().Set("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	}
}

// hang blocks until the client gives up.
func hang(r *http.Request) { <-r.Context().Done() }

func TestRetries(t *testing.T) {
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	later := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", text)
			http.Error(w, "later", code)
		}
	}
	rateLimited := func(text string) http.HandlerFunc { return later(429, text) }
	tests := []struct {
		name     string
		failures int
		fail     http.HandlerFunc
		opts     binarycache.HTTPOptions

		requests    int
		status      int // of the error
		least, most time.Duration
	}{
		{name: "503 twice", failures: 2, fail: status(503), requests: 3, least: 750 * time.Millisecond, most: 2 * time.Second},
		{name: "408", failures: 1, fail: status(408), requests: 2, most: time.Second},
		{name: "500 always", failures: 99, fail: status(500), requests: 5, status: 500, most: 10 * time.Second},
		{name: "500 with fewer tries", failures: 99, fail: status(500), opts: binarycache.HTTPOptions{Tries: 3}, requests: 3, status: 500, most: 2 * time.Second},
		{name: "500 with less time", failures: 99, fail: status(500), opts: binarycache.HTTPOptions{Tries: 99, RetryTimeout: 3 * time.Second}, requests: 4, status: 500, most: 3 * time.Second},
		{name: "connection cut", failures: 2, fail: abort, requests: 3, most: 2 * time.Second},
		{name: "429", failures: 1, fail: status(429), requests: 2, least: 10 * time.Second, most: 20 * time.Second},
		{name: "429 for 7 s", failures: 1, fail: rateLimited("7"), requests: 2, least: 7 * time.Second, most: 20 * time.Second},
		{name: "429 for an hour", failures: 1, fail: rateLimited("3600"), requests: 1, status: 429, most: time.Second},
		{name: "429 until a date", failures: 1, fail: func(w http.ResponseWriter, r *http.Request) {
			rateLimited(time.Now().Add(30*time.Second).UTC().Format(http.TimeFormat))(w, r)
		}, requests: 2, least: 29 * time.Second, most: time.Minute},
		{name: "503 for 40 s", failures: 1, fail: later(503, "40"), requests: 2, least: 40 * time.Second, most: 42 * time.Second},
		{name: "503 for an hour", failures: 1, fail: later(503, "3600"), requests: 1, status: 503, most: time.Second},
		{name: "503 for a time that is none", failures: 1, fail: later(503, "soon"), requests: 2, most: time.Second},
		{name: "503 for a time long ago", failures: 1, fail: later(503, "Thu, 01 Jan 1970 00:00:01 GMT"), requests: 2, most: time.Second},
		{name: "503 until the year 9999, after a failure", failures: 2, fail: untilTheEnd(), requests: 2, status: 503, most: 10 * time.Second},
		{name: "501", failures: 1, fail: status(501), requests: 1, status: 501, most: time.Second},
		{name: "400", failures: 1, fail: status(400), requests: 1, status: 400, most: time.Second},
		{name: "401", failures: 1, fail: status(401), requests: 1, status: 401, most: time.Second},
		{name: "206", failures: 1, fail: status(206), requests: 1, status: 206, most: time.Second},
		{name: "no answer", failures: 1, fail: func(_ http.ResponseWriter, r *http.Request) { hang(r) }, requests: 2, least: time.Minute, most: 62 * time.Second},
		{name: "a body that stops", failures: 1, fail: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "StorePath: ")
			w.(http.Flusher).Flush()
			hang(r)
		}, requests: 2, least: time.Minute, most: 62 * time.Second},
		{name: "a trickle", failures: 1, fail: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			for range 1000 {
				if _, err := io.WriteString(w, "x"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				select {
				case <-time.After(10 * time.Second):
				case <-r.Context().Done():
				}
			}
		}, requests: 2, least: time.Minute, most: 62 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				n := f.put(t, "x", "none", 100)
				c := f.open(t, test.opts)
				f.failures(test.failures, test.fail)
				start := time.Now()
				_, err := c.QueryPathInfo(t.Context(), n.Path)
				took := time.Since(start)
				var failed *binarycache.RequestError
				if test.status == 0 && err != nil {
					t.Fatal(err)
				}
				if test.status != 0 && (!errors.As(err, &failed) || failed.Status != test.status || failed.Tries != test.requests) {
					t.Errorf("%v, want status %d after %d requests", err, test.status, test.requests)
				}
				if got := f.requests(".narinfo"); got != test.requests {
					t.Errorf("%d requests, want %d", got, test.requests)
				}
				if took < test.least || took > test.most {
					t.Errorf("it took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}

// However a download is interrupted, the reader gets the archive.
func TestResumedDownload(t *testing.T) {
	const size = 400_000
	// Each handler answers the requests for the archive; n is the number of earlier ones.
	ways := map[string]func(w http.ResponseWriter, r *http.Request, file string, n int) bool{
		"ranges": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n >= 4 {
				return false
			}
			from := rangeOf(r)
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
				w.Header().Set("Content-Length", strconv.Itoa(len(file)-from))
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, file[from:][:80_001])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("ETag", `"abc"`)
			cutAfter(w, file, 80_001)
			return true
		},
		"no ranges": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			cutAfter(w, file, 80_001*(n+1))
			return true
		},
		"the wrong range, then none": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n == 0 {
				cutAfter(w, file, 5000)
			}
			if rangeOf(r) > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(file)-1, len(file)))
				w.WriteHeader(http.StatusPartialContent)
			}
			io.WriteString(w, file)
			return true
		},
		"416, then all": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n == 0 {
				cutAfter(w, file, 5000)
			}
			if rangeOf(r) > 0 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			} else {
				io.WriteString(w, file)
			}
			return true
		},
		"cut at the very end": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n > 0 {
				return false // 416: the file was complete
			}
			io.WriteString(w, file) // in chunks, without the last one
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"errors in between": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			switch n {
			case 0:
				cutAfter(w, file, 1)
			case 1, 2:
				http.Error(w, "no", 502)
				return true
			}
			return false
		},
		"a stall": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n > 0 {
				return false
			}
			io.WriteString(w, file[:1234])
			w.(http.Flusher).Flush()
			hang(r)
			return true
		},
		"somewhere else each time": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			if n%2 == 0 {
				http.Redirect(w, r, fmt.Sprintf("/nar/%d", n), http.StatusFound)
				return true
			}
			if n < 6 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", rangeOf(r), len(file)-1, len(file)))
				if rangeOf(r) > 0 {
					w.WriteHeader(http.StatusPartialContent)
				}
				cutAfter(w, file[rangeOf(r):], 80_001)
			}
			http.ServeContent(w, r, "x", time.Unix(1, 0), strings.NewReader(file))
			return true
		},
		"another validator each time": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
			if n < 3 {
				cutAfter(w, file, 80_001*(n+1))
			}
			http.ServeContent(w, r, "x", time.Unix(1, 0), strings.NewReader(file))
			return true
		},
		"compressed for the way, unasked": func(w http.ResponseWriter, r *http.Request, file string, n int) bool {
			w.Header().Set("Content-Encoding", "gzip")
			if n < 3 {
				var b strings.Builder
				z := gzip.NewWriter(&b)
				io.WriteString(z, file)
				z.Close()
				cutAfter(w, b.String(), 80_001*(n+1))
			}
			z := gzip.NewWriter(w)
			io.WriteString(z, file)
			z.Close()
			return true
		},
	}
	for name, way := range ways {
		for _, method := range []string{"none", "zstd", "xz"} {
			if method == "xz" && name != "ranges" {
				continue // this method compresses slowly
			}
			t.Run(name+", "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					n := f.put(t, "x", method, size)
					var count atomic.Int64
					f.hook = func(w http.ResponseWriter, r *http.Request) bool {
						if !strings.HasPrefix(r.URL.Path, "/nar/") {
							return false
						}
						return way(w, r, f.files[n.URL], int(count.Add(1)-1))
					}
					c := f.open(t, binarycache.HTTPOptions{})
					got, err := readAll(t.Context(), c, n.Path)
					if err != nil || got != fileNAR(noise(size)) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
					if f.requests("nar/") < 2 {
						t.Error("nothing was resumed")
					}
					if name == "ranges" && f.requests("bytes=80001-") != 1 {
						t.Errorf("no request for the missing part: %q", f.seen)
					}
				})
			})
		}
	}
}

// rangeOf returns the start of the requested range.
func rangeOf(r *http.Request) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
	return n
}

// A download that always breaks fails in the end, even with a byte of progress each time.
func TestEndlessRetries(t *testing.T) {
	for _, step := range []int{0, 1, 1000} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			n := f.put(t, "x", "none", 100_000)
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/nar/") {
					return false
				}
				file, from := f.files[n.URL], rangeOf(r)
				w.Header().Set("Content-Length", strconv.Itoa(len(file)-from))
				if from > 0 {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
					w.WriteHeader(http.StatusPartialContent)
				}
				io.WriteString(w, file[from:][:step])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			c := f.open(t, binarycache.HTTPOptions{})
			start := time.Now()
			got, err := readAll(t.Context(), c, n.Path)
			var failed *binarycache.RequestError
			if !errors.As(err, &failed) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes at a time: %d received, %v", step, len(got), err)
			}
			if n := f.requests("nar/"); n != 5 {
				t.Errorf("%d bytes at a time: %d requests", step, n)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Calls end with their context and with the store, whatever they are waiting for.
func TestCancelledCalls(t *testing.T) {
	body := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".narinfo") {
			return false
		}
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			hang(r)
		}
		return false
	}
	slow := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".narinfo") {
			http.Error(w, "later", 503)
			return true
		}
		return false
	}
	silent := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".narinfo") {
			hang(r)
		}
		return false
	}
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{"body": body, "pause": slow, "answer": silent} {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprint(name, closing), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					n := f.put(t, "x", "none", 1000)
					c := f.open(t, binarycache.HTTPOptions{})
					f.hook = hook
					reason := errors.New("enough")
					ctx, cancel := context.WithCancelCause(t.Context())
					go func() {
						time.Sleep(100 * time.Millisecond)
						if closing {
							c.Close()
						} else {
							cancel(reason)
						}
					}()
					start := time.Now()
					_, err := readAll(ctx, c, n.Path)
					if took := time.Since(start); took > 101*time.Millisecond {
						t.Errorf("it took %v", took)
					}
					switch {
					case closing && !errors.Is(err, binarycache.ErrClosed):
						t.Errorf("closed: %v", err)
					case !closing && (!errors.Is(err, context.Canceled) || !errors.Is(err, reason)):
						t.Errorf("cancelled: %v", err)
					}
					cancel(nil)
				})
			})
		}
	}
}

// The absence of a narinfo is cached for an hour, and a narinfo for thirty days.
func TestNarInfoCacheTTL(t *testing.T) {
	for _, code := range []int{404, 403, 410} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			n := f.put(t, "x", "none", 10)
			c := f.open(t, binarycache.HTTPOptions{})
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				http.Error(w, "none", code)
				return true
			}
			ask := func(want bool, requests int) {
				t.Helper()
				valid, err := c.IsValidPath(t.Context(), n.Path)
				if valid != want || err != nil || f.requests(".narinfo") != requests {
					t.Errorf("status %d: %v, %v, after %d requests", code, valid, err, f.requests(".narinfo"))
				}
			}
			ask(false, 1)
			if _, err := c.QueryPathFromHashPart(t.Context(), n.Path.HashPart()); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			time.Sleep(59 * time.Minute)
			ask(false, 1)
			time.Sleep(2 * time.Minute)
			f.hook = nil
			ask(true, 2)
			time.Sleep(29 * 24 * time.Hour)
			ask(true, 2)
			time.Sleep(48 * time.Hour)
			delete(f.files, n.Path.HashPart()+".narinfo")
			ask(false, 3)
		})
	}
}

// The cache of narinfos is bounded.
func TestNarInfoCacheLimit(t *testing.T) {
	f := newFake()
	first := f.put(t, "first", "none", 10)
	c := f.open(t, binarycache.HTTPOptions{CacheSize: 10_000})
	for i := range 20 {
		n := f.put(t, fmt.Sprintf("x%d", i), "none", 10)
		for range 2 {
			if _, err := c.QueryPathInfo(t.Context(), n.Path); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.QueryPathInfo(t.Context(), first.Path); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.requests("narinfo"); n != 21 {
		t.Errorf("%d requests for 21 cached paths", n)
	}
	again := f.put(t, "x0", "none", 10)
	if _, err := c.QueryPathInfo(t.Context(), again.Path); err != nil || f.requests("narinfo") != 22 {
		t.Errorf("the least recently used narinfo is still cached: %v", err)
	}
}

func TestGoneArchive(t *testing.T) {
	f := newFake()
	n := f.put(t, "x", "none", 10)
	c := f.open(t, binarycache.HTTPOptions{})
	delete(f.files, n.URL)
	_, err := c.NARFromPath(t.Context(), n.Path)
	var bad *binarycache.ArchiveError
	if !errors.As(err, &bad) || errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// The narinfo now names another file.
	n.URL = "nar/elsewhere"
	f.files[n.URL] = fileNAR(noise(10))
	f.putNarInfo(t, n)
	if _, err := readAll(t.Context(), c, n.Path); err != nil {
		t.Error(err)
	}
}
