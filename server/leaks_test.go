package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/storepath"
)

// resources returns the number of goroutines and open files of the process.
func resources() (goroutines, files int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	return runtime.NumGoroutine(), len(entries)
}

// checkLeaks checks that the process soon uses no more resources than before.
func checkLeaks(t *testing.T, goroutines, files int) {
	t.Helper()
	var g, f int
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if g, f = resources(); g <= goroutines && f <= files {
			return
		}
	}
	t.Errorf("%d goroutines and %d files, before %d and %d", g, f, goroutines, files)
}

// requests returns the bytes that clients send for each operation after the handshake.
func (w *world) requests(t *testing.T, p protocol.Params) (all [][]byte) {
	for _, q := range w.questions(t, p) {
		b, err := p.AppendRequest(nil, q.req)
		if err != nil {
			continue
		}
		all = append(all, appendBody(b, p, q))
	}
	return all
}

// A client may hang up, or close its writing end, after any byte of any operation. No
// goroutine, file, connection or memory of the budget remains.
func TestHangUpBehindEveryByte(t *testing.T) {
	goroutines, files := resources()
	for _, version := range []protocol.Version{protocol.MakeVersion(22), protocol.MaxVersion} {
		w := newWorld(t)
		h := startHost(t, &server.Server{Store: w.s, Options: &server.Options{Trusted: true, Version: version}})
		step := chaosStep(11)
		first := h.mustDial()
		requests := w.requests(t, first.params)
		first.nc.Close()
		for i, p := range requests {
			for n := i % step; n <= len(p); n += step {
				c := h.mustDial()
				c.nc.Write(p[:n])
				if n%3 == 0 {
					c.halfClose(t, i, n)
				}
				c.nc.Close()
			}
		}
		h.stop(t)
		h.CheckReleased(t)
	}
	checkLeaks(t, goroutines, files)
}

// halfClose closes the writing end and waits until the server closes the connection.
func (c *client) halfClose(t *testing.T, i, n int) {
	t.Helper()
	c.nc.(*net.UnixConn).CloseWrite()
	c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, c.nc); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("request %d, %d bytes: the server does not end the connection", i, n)
	}
}

// Clients that hang up while they wait for memory, or while the server writes their large
// replies, leave no resources behind.
func TestHangUpUnderLoad(t *testing.T) {
	goroutines, files := resources()
	w := newWorld(t)
	h := startHost(t, &server.Server{Store: w.s, MemoryBudget: 1 << 20, Options: &server.Options{Trusted: true}})
	var clients []*client
	paths := manyPaths(t, 5000)
	for i := range 60 {
		c := h.mustDial()
		c.nc.SetDeadline(time.Now().Add(100 * time.Millisecond))
		switch i % 4 {
		case 0:
			c.nc.Write(c.encode(&protocol.QueryValidPathsRequest{Paths: paths}))
		case 1:
			p := c.encode(&protocol.QueryValidPathsRequest{Paths: paths})
			c.nc.Write(p[:len(p)/2])
		case 2:
			c.nc.Write(append(addFlat(), make([]byte, 100)...))
		case 3:
			for range 100 {
				c.nc.Write(c.encode(&protocol.NarFromPathRequest{Path: w.text}))
			}
		}
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.nc.Close()
	}
	h.stop(t)
	h.CheckReleased(t)
	checkLeaks(t, goroutines, files)
}

func (c *client) encode(req protocol.Request) []byte {
	c.t.Helper()
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// manyPaths returns n invalid paths.
func manyPaths(t testing.TB, n int) []storepath.Path {
	t.Helper()
	paths := make([]storepath.Path, n)
	for i := range paths {
		var err error
		if paths[i], err = storepath.DefaultDir.MakePath("text", nixhash.Sum(nixhash.SHA256, fmt.Append(nil, i)), "x"); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}
