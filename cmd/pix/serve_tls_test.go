package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeCertificate writes the certificate of httptest, which is for 127.0.0.1, and its key. It returns a client that trusts
// it, and speaks HTTP/2.
func writeCertificate(t *testing.T) (client *http.Client, certificate, key string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	srv.Close() // the client and the certificate remain
	private, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: srv.Certificate().Raw},
		key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return srv.Client(), certificate, key
}

// Over HTTPS, pix copies to and from a server, other clients get HTTP/2, and a client that does not trust the certificate gets
// nothing.
func TestServeTLS(t *testing.T) {
	client, certificate, key := writeCertificate(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	path := pixOutput(t, "--store", from, "add-text", "hello", "hello world")
	s := startServe(t, 1, "--store", filepath.Join(dir, "served"), "--accept-uploads", "--listen", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key)
	url := "https://" + s.addresses[0]
	trusting := []string{"--option", "ssl-cert-file", certificate}
	pixOutput(t, append(trusting, "copy", "--from", from, "--to", url, path)...)
	pixOutput(t, append(trusting, "copy", "--from", url, "--to", to, path)...)
	pixOutput(t, "verify-store", "--check-contents", "--store", to)
	resp, err := client.Get(url + "/" + filepath.Base(path)[:32] + ".narinfo")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
	if resp, err := http.Get(url + "/nix-cache-info"); err == nil {
		resp.Body.Close()
		t.Error("a client that does not trust the certificate gets an answer")
	}
	if lines := s.stop(t); !strings.Contains(lines, "shutting down") {
		t.Errorf("it printed %s", lines)
	}
}
