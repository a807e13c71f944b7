package binarycache_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A file that is replaced while its download breaks is never read as a mixture: whatever the server sends as
// versions and ranges, the reader gets one of the two versions, or an error.
func TestReplacedLog(t *testing.T) {
	const log = "/log/00000000000000000000000000000000-x.drv"
	before, after := strings.Repeat("a", 100_000), strings.Repeat("b", 120_000)
	for name, c := range map[string]struct {
		header func(h http.Header, n int)
		ranges bool   // it serves ranges and ignores If-Range
		second string // the contents when the download is resumed
		fails  bool
	}{
		"other ETag":      {func(h http.Header, n int) { h.Set("ETag", fmt.Sprintf(`"%d"`, n)) }, false, after, true},
		"other weak ETag": {func(h http.Header, n int) { h.Set("ETag", fmt.Sprintf(`W/"%d"`, n)) }, false, after, true},
		"other time": {func(h http.Header, n int) {
			h.Set("Last-Modified", time.Unix(int64(n), 0).UTC().Format(http.TimeFormat))
		}, false, after, true},
		"nothing":                    {func(http.Header, int) {}, false, after, true},
		"nothing, ranges":            {func(http.Header, int) {}, true, after, true},
		"other ETag, ranges":         {func(h http.Header, n int) { h.Set("ETag", fmt.Sprintf(`"%d"`, n)) }, true, after, true},
		"the same":                   {func(h http.Header, n int) { h.Set("ETag", `"1"`) }, true, before, false},
		"the same, nothing":          {func(http.Header, int) {}, true, before, false},
		"the same, other ETag":       {func(h http.Header, n int) { h.Set("ETag", fmt.Sprintf(`"%d"`, n)) }, true, before, false},
		"longer":                     {func(http.Header, int) {}, false, before + after, false},
		"shorter than what has come": {func(http.Header, int) {}, false, before[:100], true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				n := 0
				f.hook = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != log {
						return false
					}
					n++
					c.header(w.Header(), n)
					if n == 1 {
						cutAfter(w, before, 40_000)
					}
					at := rangeOf(r)
					if at > 0 && c.ranges {
						w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(c.second)-1, len(c.second)))
						w.WriteHeader(http.StatusPartialContent)
						io.WriteString(w, c.second[at:])
						return true
					}
					io.WriteString(w, c.second)
					return true
				}
				s := f.open(t, binarycache.HTTPOptions{})
				r, err := s.BuildLog(t.Context(), "/nix/store/00000000000000000000000000000000-x.drv")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				b, err := io.ReadAll(r)
				if c.fails && (err == nil || !strings.Contains(err.Error(), "was replaced")) || !c.fails && (err != nil || string(b) != c.second) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		})
	}
}

// A rebuilt cache has other archives than the cached narinfos say. The narinfos are requested again
// immediately.
func TestRebuiltCache(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("old archive gone: ", gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				old := f.put(t, "x", "none", 1000)
				s := f.open(t, binarycache.HTTPOptions{})
				if _, err := s.QueryPathInfo(t.Context(), old.Path); err != nil {
					t.Fatal(err)
				}
				archive := fileNAR("other contents")
				fresh := *old
				fresh.NARHash, fresh.NARSize = nixhash.Sum(nixhash.SHA256, []byte(archive)), uint64(len(archive))
				fresh.FileHash, fresh.FileSize = fresh.NARHash, fresh.NARSize
				if gone {
					delete(f.files, old.URL)
					fresh.URL = "nar/other.nar"
				}
				f.files[fresh.URL] = archive
				f.putNarInfo(t, &fresh)
				dst := memstore.New(nil)
				copied, err := store.Copy(t.Context(), dst, s, []storepath.Path{old.Path}, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
				if err != nil || len(copied) != 1 {
					t.Errorf("%d were copied, %v", len(copied), err)
				}
				if info, err := dst.QueryPathInfo(t.Context(), old.Path); err != nil || info.NARHash != fresh.NARHash {
					t.Errorf("%+v, %v", info, err)
				}
				if n := f.requests(".narinfo"); n > 4 {
					t.Errorf("%d narinfos were requested", n)
				}
			})
		})
	}
}

// A damaged small file is requested once more, and not more often.
func TestDamagedOnce(t *testing.T) {
	for name, spoil := range map[string]func(string) string{
		"nonsense":      func(string) string { return "<html>" },
		"empty":         func(string) string { return "" },
		"cut in a line": func(s string) string { return s[:len(s)-10] },
		"cut between lines": func(s string) string {
			at := strings.Index(s, "\nReferences:")
			return s[:at+1]
		},
	} {
		for _, ever := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", ever: ", ever), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					n := f.put(t, "x", "none", 1000)
					f.putNarInfo(t, n)
					file := narinfo.FileName(n.Path)
					var count atomic.Int64
					f.hook = func(w http.ResponseWriter, r *http.Request) bool {
						if !strings.HasSuffix(r.URL.Path, file) || count.Add(1) > 1 && !ever {
							return false
						}
						io.WriteString(w, spoil(f.files[file]))
						return true
					}
					s := f.open(t, binarycache.HTTPOptions{})
					start := time.Now()
					_, err := s.QueryPathInfo(t.Context(), n.Path)
					if !ever && err != nil {
						t.Error(err)
					}
					if got := count.Load(); got != 2 || time.Since(start) > 0 {
						t.Errorf("%d requests, after %v", got, time.Since(start))
					}
				})
			})
		}
	}
}
