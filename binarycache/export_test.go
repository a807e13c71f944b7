package binarycache

import (
	"crypto/x509"
	"testing"
)

// OpenTrusting opens a cache with the store's own client, which trusts the given certificate.
func OpenTrusting(t *testing.T, uri string, certificate *x509.Certificate, opts HTTPOptions) *Store {
	t.Helper()
	testRoots = x509.NewCertPool()
	testRoots.AddCert(certificate)
	defer func() { testRoots = nil }()
	s, err := Open(t.Context(), uri, &Options{HTTP: opts})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
