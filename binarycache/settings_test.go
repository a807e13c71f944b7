package binarycache_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/binarycache"
)

// infoHandler serves nix-cache-info.
func infoHandler(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/nix-cache-info" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Write([]byte("StoreDir: /nix/store\n"))
}

// writePEM writes the certificate of a server to a file.
func writePEM(t *testing.T, server *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return file
}

// Only the certificate authorities in the file are trusted.
func TestCAFile(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(infoHandler))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some handshakes fail
	server.StartTLS()
	defer server.Close()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	write(t, empty, "no certificate")
	for file, want := range map[string]string{
		writePEM(t, server): "",
		"":                  "certificate",
		empty:               "has no certificates",
		"/nowhere.pem":      "no such file",
	} {
		s, err := binarycache.Open(t.Context(), server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{CAFile: file}})
		if err == nil {
			s.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
}

// A cache behind HTTP needs no certificate authorities, unless it redirects.
func TestCAFileWithoutTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(infoHandler))
	defer secure.Close()
	var redirects atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if redirects.Load() {
			http.Redirect(w, r, secure.URL+r.URL.Path, http.StatusFound)
			return
		}
		infoHandler(w, r)
	}))
	defer server.Close()
	opts := &binarycache.Options{HTTP: binarycache.HTTPOptions{CAFile: "/nowhere.pem", Tries: 1}}
	s, err := binarycache.Open(t.Context(), server.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	redirects.Store(true)
	if _, err = binarycache.Open(t.Context(), server.URL, opts); err == nil || !strings.Contains(err.Error(), "ssl-cert-file") {
		t.Error(err)
	}
}

// The client authenticates itself with a certificate, from the parameters of Nix.
func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(infoHandler))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some handshakes fail
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	certificate, key := writePEM(t, server), filepath.Join(t.TempDir(), "key.pem")
	private, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	opts := &binarycache.Options{HTTP: binarycache.HTTPOptions{CAFile: certificate, Tries: 1}}
	if _, err := binarycache.Open(t.Context(), server.URL, opts); err == nil {
		t.Error("the server accepts a client without a certificate")
	}
	s, err := binarycache.Open(t.Context(), server.URL+"?tls-certificate="+certificate+"&tls-private-key="+key, opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// A server that accepts connections and never begins the TLS handshake costs the timeout for connecting, not
// the one for an answer.
func TestConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	_, err = binarycache.Open(t.Context(), "https://"+l.Addr().String(), &binarycache.Options{HTTP: binarycache.HTTPOptions{
		ConnectTimeout: 100 * time.Millisecond, ResponseTimeout: time.Hour, Tries: 2, RetryDelay: 1,
	}})
	if err == nil || !strings.Contains(err.Error(), "connect-timeout") || !strings.Contains(err.Error(), "tried 2 times") || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// Each call has the timeouts and TTLs from its context.
func TestOverride(t *testing.T) {
	type key struct{}
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "a.narinfo"):
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, ".narinfo"):
			asked.Add(1)
			w.WriteHeader(http.StatusNotFound)
		default:
			infoHandler(w, r)
		}
	}))
	defer server.Close()
	s, err := binarycache.Open(t.Context(), server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{
		ResponseTimeout: time.Hour,
		Override: func(ctx context.Context, o *binarycache.HTTPOptions) {
			if ctx.Value(key{}) != nil {
				o.ResponseTimeout, o.Tries, o.NegativeTTL = 50*time.Millisecond, 1, -1
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	quick := context.WithValue(t.Context(), key{}, true)
	_, err = s.QueryPathFromHashPart(quick, "0000000000000000000000000000000a")
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	for _, c := range []struct {
		ctx  context.Context
		want int32
	}{{t.Context(), 1}, {t.Context(), 1}, {quick, 2}, {quick, 3}, {t.Context(), 3}} {
		if _, err := s.QueryPathFromHashPart(c.ctx, "0000000000000000000000000000000b"); err == nil || asked.Load() != c.want {
			t.Errorf("%v; %d requests, want %d", err, asked.Load(), c.want)
		}
	}
}

// The number of tries and the delays can be set in the URI.
func TestRetryParameters(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	start := time.Now()
	_, err := binarycache.Open(t.Context(), server.URL+"?retry-attempts=3&retry-delay=1&retry-delay-rate-limited=1&retry-max-delay=5", nil)
	if err == nil || asked.Load() != 3 || time.Since(start) > time.Minute {
		t.Errorf("%v; %d requests in %v", err, asked.Load(), time.Since(start))
	}
}

// A body is not faster than its speed limit, and a store without HTTP/2 uses HTTP/1.1.
func TestSpeedAndProtocol(t *testing.T) {
	const text = "StoreDir: /nix/store\n"
	var protocol atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol.Store(r.Proto + " " + r.UserAgent())
		w.Write([]byte(text + strings.Repeat("X: y\n", 1000)))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, old := range []bool{false, true} {
		start := time.Now()
		s, err := binarycache.Open(t.Context(), server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{
			CAFile: writePEM(t, server), NoHTTP2: old, DownloadSpeed: 25_000, UserAgent: "me",
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if took := time.Since(start); took < 150*time.Millisecond {
			t.Errorf("5,000 bytes in %v", took)
		}
		want := map[bool]string{false: "HTTP/2.0 me", true: "HTTP/1.1 me"}[old]
		if got := protocol.Load(); got != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
