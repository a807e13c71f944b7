package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// Stalled clients lose their places to new clients, also if none has more than half of the places: the slowest one
// first. Clients that are fast, or wait for the server, keep their places.
func TestStalledClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newHTTPConnections(4)
		conns := make([]*addressedConn, 4)
		for i := range conns {
			conns[i] = addBusy(t, c, fmt.Sprintf("192.0.2.%d:1", i+1))
		}
		fast, waiting, slow, stalled := conns[0], conns[1], conns[2], conns[3]
		for i, nc := range conns {
			if i != 1 { // the handler of waiting waits for something else
				c.open[nc].wait.begin(0)
			}
		}
		next := connFrom("192.0.2.9:1")
		if added, wait, err := c.add(next); added || wait != stallTime || err != nil {
			t.Fatalf("before a client has stalled: %t, %v, %v", added, wait, err)
		}
		time.Sleep(stallTime)
		for nc, n := range map[*addressedConn]int64{fast: 1 << 20, slow: 1000} {
			c.open[nc].wait.end(0, n)
			c.open[nc].wait.begin(0)
		}
		for _, victim := range []*addressedConn{stalled, slow} {
			addBusy(t, c, "192.0.2.9:1")
			if !victim.isClosed() || fast.isClosed() || waiting.isClosed() {
				t.Fatal("another client than the slowest one was closed")
			}
		}
		if added, wait, err := c.add(next); added || wait <= 0 || wait > stallTime || err != nil {
			t.Errorf("without a stalled client: %t, %v, %v", added, wait, err)
		}
		time.Sleep(stallTime) // the fast client has stalled, too
		if addBusy(t, c, "192.0.2.9:1"); !fast.isClosed() || waiting.isClosed() {
			t.Error("a client that has stalled after it was fast keeps its place")
		}
	})
}

// A client that is just fast enough keeps its place, although the server knows only the end of each large write. A client that has
// received nothing of one does not.
func TestSlowClientsInLargeWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []int64{stallRate + 100, 2 * stallRate, 20 * stallRate} {
			const piece = 256 << 10
			var w clientWait
			w.reset()
			time.Sleep(time.Hour) // the store is slow
			needed := time.Duration(float64(piece) / float64(rate) * float64(time.Second))
			for range 10 {
				w.begin(piece)
				for range 7 { // other clients want a place all the time
					time.Sleep(needed / 7)
					if _, left := w.check(stallTime); left == 0 {
						t.Fatalf("a client that receives %d bytes per second has stalled", rate)
					}
				}
				w.end(piece, piece)
			}
			w.reset()
			for range 10 { // streams
				w.begin(piece)
			}
			time.Sleep(2 * stallTime)
			if _, left := w.check(stallTime); left != 0 {
				t.Error("a client that receives nothing has not stalled")
			}
		}
	})
}

// If stalled clients leave one place to all others, a new client does not wait for that place.
func TestStalledClientsAndAnUnusedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newHTTPConnections(3)
		stalled := []*addressedConn{addBusy(t, c, "192.0.2.1:1"), addBusy(t, c, "192.0.2.2:1")}
		for _, nc := range stalled {
			c.open[nc].wait.begin(0)
		}
		time.Sleep(stallTime)
		for i := range 3 {
			if added, wait, err := c.add(connFrom("192.0.2.9:1")); added != (i < 3) {
				t.Fatalf("client %d: %t, %v, %v", i, added, wait, err)
			}
		}
		if !stalled[0].isClosed() || !stalled[1].isClosed() {
			t.Error("a stalled client keeps its place")
		}
	})
}

// Clients that stall in each way hold all places of a server. New clients are served.
func TestServeWhileClientsStall(t *testing.T) {
	const places = 4
	c := newHTTPConnections(places)
	c.minUnused, c.stallTime = 0, 50*time.Millisecond
	started := make(chan struct{}, places)
	srv := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			io.WriteString(w, "ok")
			return
		}
		started <- struct{}{}
		if r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	c.attach(srv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(c.limit(l)) }()
	defer func() {
		srv.Close()
		<-ended
	}()
	for i := range places {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		request := "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n" // and the response is not read
		if i%2 == 1 {
			request = "PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" // and the body is not sent
		}
		if _, err := io.WriteString(nc, request); err != nil {
			t.Fatal(err)
		}
		<-started
	}
	for range 3 * places {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := client.Get("http://" + l.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}
