package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// stall makes n clients of a user stall in every way that holds memory.
func (w *testWorld) stall(uid uint32, trusted bool, n int) (clients []*testClient) {
	upload := &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256}
	for range n {
		request, reply, body := w.connect(uid, trusted), w.connect(uid, trusted), w.connect(uid, trusted)
		p := request.encode(wanted(4000))
		request.begin(p[:len(p)*3/4])
		reply.begin(reply.encode(&protocol.QueryReferrersRequest{Path: w.base}))
		body.begin(wire.AppendUint64(body.encode(upload), 1<<20))
		clients = append(clients, request, reply, body)
	}
	synctest.Wait()
	return clients
}

// One user holds a whole share with stalled requests, replies and uploads. All requests of
// trusted users and of other untrusted users are served at once.
func TestOthersAreServedAtOnce(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprint("trusted=", trusted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTestWorld(t, 0, 4000)
				stalled := w.stall(1, trusted, 32)
				start := time.Now()
				for _, who := range []owner{{uid: 0, trusted: true}, {uid: 2}, {uid: 3, trusted: true}} {
					c := w.connect(who.uid, who.trusted)
					for _, req := range []protocol.Request{
						&protocol.IsValidPathRequest{Path: w.base}, wanted(10), wanted(2000), wanted(8000),
						&protocol.QueryReferrersRequest{Path: w.base}, &protocol.QueryAllValidPathsRequest{},
						&protocol.EnsurePathRequest{Path: w.base},
					} {
						if err := c.ask(req); err != nil {
							t.Errorf("%s: %v", req.Op(), err)
						}
					}
					c.begin(append(wire.AppendUint64(c.encode(&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256}), 8), make([]byte, 16)...))
					if err := c.answer(protocol.AddToStore); err != nil {
						t.Errorf("an upload: %v", err)
					}
					c.close()
				}
				if took := time.Since(start); took > 0 {
					t.Errorf("the clients waited for %v", took)
				}
				for _, c := range stalled {
					c.close()
				}
				w.checkReleased()
			})
		})
	}
}

// The connection of a stalled client is closed when another connection of its user waits for
// its memory, and not before. The other client is served.
func TestStalledClientLosesItsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 16<<20, 4000)
		w.opts.StallTimeout = time.Hour
		stalled := w.stall(1, false, 8)
		time.Sleep(20 * time.Minute)
		waiting := 0
		for _, c := range stalled {
			if closed, why := c.isClosed(); closed && !errors.Is(why, ErrStalled) {
				t.Errorf("a connection ended with %v", why)
			} else if !closed {
				waiting++
			}
		}
		if waiting == 0 {
			t.Error("all connections were closed")
		}
		c := w.connect(1, false)
		start := time.Now()
		if err := c.ask(wanted(8000)); err != nil {
			t.Errorf("a client that waits: %v", err)
		}
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("the client waited for %v", took)
		}
		c.close()
		for _, c := range stalled {
			c.close()
		}
		w.checkReleased()
	})
}

// While no connection waits for its memory, a client may stall as long as the options allow.
func TestStalledClientAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 16<<20, 0)
		w.opts.StallTimeout = time.Hour
		c, other := w.connect(1, false), w.connect(2, false)
		p := c.encode(wanted(100_000)) // more than the share
		c.begin(p[:len(p)/2])
		time.Sleep(59 * time.Minute)
		if err := other.ask(wanted(4000)); err != nil {
			t.Error(err)
		}
		c.begin(p[len(p)/2:])
		if err := c.answer(protocol.QueryValidPaths); err != nil {
			t.Errorf("the connection was closed: %v", err)
		}
		c.close()
		other.close()
		w.checkReleased()
	})
}

// A client may wait for memory for any time without losing its connection or the bytes it has
// sent.
func TestWaitingClientLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 1<<20, 0) // a share is the memory for 16 KiB of a request
		w.opts.StallTimeout = 10 * time.Second
		slow := w.connect(1, false)
		p := slow.encode(wanted(400_000))
		var wg sync.WaitGroup
		wg.Go(func() { // fast enough, but much longer than a client may stall
			for len(p) > 0 {
				n := min(len(p), 300<<10)
				if _, err := slow.nc.Write(p[:n]); err != nil {
					t.Errorf("a slow client was closed: %v", err)
					return
				}
				p = p[n:]
				time.Sleep(time.Second)
			}
		})
		synctest.Wait()
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				c := w.connect(1, false)
				if err := c.ask(wanted(2000)); err != nil {
					t.Errorf("after %v a client that waits: %v", time.Since(start), err)
				}
				c.close()
			})
		}
		if err := slow.answer(protocol.QueryValidPaths); err != nil {
			t.Errorf("the slow client: %v", err)
		}
		if took := time.Since(start); took < time.Minute {
			t.Errorf("the slow client took only %v", took)
		}
		wg.Wait()
		slow.close()
		w.checkReleased()
	})
}

// The server notices a client that hangs up while it waits for memory.
func TestWaitingClientHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 1<<20, 0)
		first, second, third := w.connect(1, false), w.connect(1, false), w.connect(1, false)
		p := first.encode(wanted(4000))
		for _, c := range []*testClient{first, second} { // one overdraws, the other holds the share
			c.begin(p[:len(p)/2])
			synctest.Wait()
		}
		third.begin(p)
		synctest.Wait()
		start := time.Now()
		third.nc.Close()
		if <-third.served; time.Since(start) > time.Second {
			t.Errorf("the hang-up was noticed after %v", time.Since(start))
		}
		first.close()
		second.close()
		w.checkReleased()
	})
}

// While 32 connections of one user stall in a request, the requests of another user and of root
// wait for nothing. In a bubble only waiting takes time.
func TestFairness(t *testing.T) {
	for _, size := range []int{1250, 32_000} { // paths: 80 KB, 2 MB
		synctest.Test(t, func(t *testing.T) {
			w := newTestWorld(t, 0, 0)
			others := []*testClient{w.connect(2, false), w.connect(0, true)}
			var stalled []*testClient
			p := others[0].encode(wanted(size))
			for range 32 {
				c := w.connect(1, false)
				c.begin(p[:len(p)/8])
				stalled = append(stalled, c)
			}
			synctest.Wait()
			start := time.Now()
			for _, c := range others {
				for _, req := range []protocol.Request{&protocol.QueryPathInfoRequest{Path: w.base}, wanted(200), wanted(size)} {
					if err := c.ask(req); err != nil || time.Since(start) > 0 {
						t.Errorf("with stalled requests of %d paths, %s: %v after %v", size, req.Op(), err, time.Since(start))
					}
				}
			}
			for _, c := range append(others, stalled...) {
				c.close()
			}
			w.checkReleased()
		})
	}
}

// Connections of one user that pipeline requests do not wait for each other's reply buffers.
func TestManyPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 1<<20, 0) // a share has two buffers
		var wg sync.WaitGroup
		start := time.Now()
		for range 20 {
			c := w.connect(1, false)
			p := c.encode(&protocol.QueryPathInfoRequest{Path: w.base})
			wg.Go(func() {
				go c.nc.Write(bytes.Repeat(p, 1000))
				for range 1000 {
					if err := c.answer(protocol.QueryPathInfo); err != nil {
						t.Error(err)
						break
					}
				}
				c.close()
			})
		}
		wg.Wait()
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the connections took %v", took)
		}
		w.checkReleased()
	})
}

// An idle connection that has had log lines and replies holds no memory of the budget.
func TestIdleHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		c := w.connect(1, false)
		noise := make(map[string]string)
		for i := range 3000 { // the reply to each has a log line
			noise[fmt.Sprint("a-restricted-setting-", i)] = "x"
		}
		for range 3 {
			if err := c.ask(&protocol.SetOptionsRequest{Overrides: noise}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for s := range maps.Values(w.m.requests.shares) {
				if s.held != 0 {
					t.Errorf("an idle connection holds %d bytes", s.held)
				}
			}
		}
		c.close()
		w.checkReleased()
	})
}
