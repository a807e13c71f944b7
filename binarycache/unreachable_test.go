package binarycache_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
)

// With ConnectTries, a server that refuses connections, or does not answer, fails soon. Without it, each attempt is
// repeated.
func TestConnectTries(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	refuse := func() error { return refused }
	silent := func() error { time.Sleep(5 * time.Minute); return refused }
	for _, test := range []struct {
		dial         func() error
		connectTries int
		dials        int
		most         time.Duration
	}{
		{refuse, 0, 5, 10 * time.Second},
		{refuse, 2, 2, time.Second},
		{refuse, 9, 5, 10 * time.Second},
		{silent, 0, 5, 2 * time.Minute},
		{silent, 2, 1, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var dials atomic.Int32
			client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				dials.Add(1)
				return nil, test.dial()
			}}}
			start := time.Now()
			_, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, ConnectTries: test.connectTries}})
			if took, n := time.Since(start), int(dials.Load()); err == nil || n != test.dials || took > test.most {
				t.Errorf("ConnectTries %d: %d attempts in %v, want %d in %v: %v", test.connectTries, n, took, test.dials, test.most, err)
			}
			time.Sleep(time.Hour) // until the transport has given up
		})
	}
}
