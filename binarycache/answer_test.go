package binarycache_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
)

// The error of a download has the message that the server has sent: short, in one line, and without what a terminal
// would obey.
func TestDownloadAnswers(t *testing.T) {
	for body, want := range map[string]string{
		"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>": ": SlowDown: Reduce your rate.",
		"<html>\r\n<head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx":        "",
		"<html><head><title>Wartung &amp; mehr</title></head>":                                            ": Wartung & mehr",
		"<p>no <b>title</b></p>":                 ": no title",
		`{"error": "quota"}`:                     `: {"error": "quota"}`,
		"Bad Gateway\n":                          "",
		"":                                       "",
		"an \x1b[31mevil\x1b[0m\r\n\u202etext":   `: an \x1b[31mevil\x1b[0m \u202etext`,
		"<title>\x1b]0;evil\a</title>":           `: \x1b]0;evil\a`,
		"long " + strings.Repeat("x", 100_000):   ": long " + strings.Repeat("x", 495) + "…",
		"<" + strings.Repeat("<title>", 100_000): ": ",
	} {
		for _, encoding := range []string{"", "gzip", "broken"} {
			f := newFake()
			n := f.put(t, "x", "none", 10)
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				text := body
				switch encoding {
				case "gzip":
					w.Header().Set("Content-Encoding", encoding)
					text = compress(t, "gzip", body)
				case "broken":
					w.Header().Set("Content-Encoding", "zstd")
				}
				if strings.HasSuffix(r.URL.Path, ".narinfo") {
					w.WriteHeader(http.StatusBadGateway)
					io.WriteString(w, text)
					return true
				}
				w.Header().Del("Content-Encoding")
				return false
			}
			s := f.open(t, binarycache.HTTPOptions{Tries: 1})
			_, err := s.QueryPathInfo(t.Context(), n.Path)
			var failure *binarycache.RequestError
			if !errors.As(err, &failure) || failure.Status != http.StatusBadGateway {
				t.Fatalf("%.20q: %v", body, err)
			}
			want := want
			if encoding == "broken" {
				want = ""
			}
			text := err.Error()
			if strings.ContainsAny(text, "\x1b\a\r\n\u202e") || len(text) > 1000 {
				t.Errorf("%.20q: the error is %q", body, text)
			}
			if got := text[strings.Index(text, "Bad Gateway")+len("Bad Gateway"):]; want != ": " && got != want {
				t.Errorf("%.20q, encoding %q: got %q, want %q", body, encoding, got, want)
			}
		}
	}
}

// A server that sends the text of an error slowly delays the error by a few seconds only.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		n := f.put(t, "x", "none", 10)
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, ".narinfo") {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			for range 10_000 {
				if _, err := io.WriteString(w, "slow "); err != nil {
					return true
				}
				http.NewResponseController(w).Flush()
				select {
				case <-time.After(100 * time.Millisecond):
				case <-r.Context().Done():
					return true
				}
			}
			return true
		}
		s := f.open(t, binarycache.HTTPOptions{Tries: 1})
		start := time.Now()
		_, err := s.QueryPathInfo(t.Context(), n.Path)
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "Bad Gateway: slow slow") || took > 6*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
