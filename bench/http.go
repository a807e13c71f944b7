package main

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"time"

	"pix/internal/latency"
)

// trip is the round trip time of the rows about HTTP.
const trip = 20 * time.Millisecond

// A slowListener delays the bytes of its connections in both directions.
type slowListener struct{ net.Listener }

func (l slowListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return latency.Conn(nc, trip/2), nil
}

// serveSlowly serves a cache by HTTPS with HTTP/1.1 and HTTP/2. It returns the URL, and the file inside with the certificate.
func (w *world) serveSlowly(t *scope, dir string) (url, certificate string) {
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(w.HostPath(dir))))
	server.Listener = slowListener{server.Listener}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate = dir + "/certificate.pem"
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	t.check(os.WriteFile(w.HostPath(certificate), text, 0o644))
	return server.URL, certificate
}

// fromHTTP returns contenders that copy a closure from a cache behind HTTP to a new store. Each copy has its own directory for
// cached narinfos: otherwise Nix would ask for them only in the first round.
func (w *world) fromHTTP(t *scope, cache, root string, http2 bool) []contender {
	url, certificate := w.serveSlowly(t, cache)
	settings := []string{"--option", "ssl-cert-file", certificate, "--option", "http2", fmt.Sprint(http2)}
	cached := func(cmd *exec.Cmd, dir string) *exec.Cmd {
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+dir+"/cache")
		return cmd
	}
	return []contender{
		w.writer("pix", "from-http", func(dir string) *exec.Cmd {
			return cached(w.runPix(append(settings, "copy", "--no-check-sigs", "--from", url, "--to", dir, root)...), dir)
		}),
		w.writer("Nix", "from-http", func(dir string) *exec.Cmd {
			return cached(w.runNix(append(append([]string{"nix"}, settings...), "copy", "--no-check-sigs", "--from", url, "--to", dir, root)...), dir)
		}),
	}
}

func http1Row(l *lab, t *scope) work { return largeHTTP(l, t, false) }
func http2Row(l *lab, t *scope) work { return largeHTTP(l, t, true) }

func largeHTTP(l *lab, t *scope, http2 bool) work {
	size := l.size(100, 300)
	w, path := l.sharedWorld(), l.largePath(size).path
	cache := w.makeCache(t, "served", path, "none")
	return work{fmt.Sprint(size, " MB"), w.fromHTTP(t, cache, path, http2)}
}

func smallHTTPRow(l *lab, t *scope) work {
	s := l.store(1000)
	cache := s.makeCache(t, "served", s.root, "zstd")
	return work{count(s.n) + " paths", s.fromHTTP(t, cache, s.root, false)}
}
