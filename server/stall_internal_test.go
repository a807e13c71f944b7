package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// A testWorld is the memory and the store of a server, for clients of any users.
type testWorld struct {
	t    *testing.T
	m    *memory
	s    store.Store
	opts Options
	base storepath.Path // many paths refer to it
}

// newTestWorld returns a world with the given memory budget. Its store has n paths that refer
// to one path.
func newTestWorld(t *testing.T, budget int64, n int) *testWorld {
	t.Helper()
	s := memstore.New(nil)
	base, err := store.AddText(t.Context(), s, "base", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := store.AddText(t.Context(), s, fmt.Sprint("some-package-", i), "x", []storepath.Path{base}); err != nil {
			t.Fatal(err)
		}
	}
	return &testWorld{t: t, m: newMemory(budget), s: s, base: base}
}

// A testClient is a client of some user.
type testClient struct {
	t      *testing.T
	nc     net.Conn
	in     *wire.Reader
	params protocol.Params
	served chan error
}

// connect connects a client in memory.
func (w *testWorld) connect(uid uint32, trusted bool) *testClient {
	w.t.Helper()
	ours, theirs := net.Pipe()
	return w.serve(ours, theirs, uid, trusted)
}

// serve serves a client and performs the handshake.
func (w *testWorld) serve(ours, theirs net.Conn, uid uint32, trusted bool) *testClient {
	w.t.Helper()
	c := &testClient{t: w.t, nc: ours, in: wire.NewReader(ours, 4096), served: make(chan error, 1)}
	opts := w.opts
	opts.Trusted = trusted
	go func() {
		c.served <- newConn(context.Background(), theirs, w.s, &opts, w.m, owner{uid: uid, known: true}).run()
	}()
	var err error
	if c.params, _, err = protocol.ClientHandshake(c.in, ours, w.s.Dir()); err == nil {
		err = c.last()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (c *testClient) last() error {
	for {
		m, err := c.params.ReadMessage(c.in)
		switch {
		case err != nil:
			return err
		case m.Kind == protocol.MessageError:
			return m.Err
		case m.Kind == protocol.MessageLast:
			return nil
		}
	}
}

func (c *testClient) encode(req protocol.Request) []byte {
	c.t.Helper()
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// begin sends bytes on another goroutine.
func (c *testClient) begin(p []byte) { go c.nc.Write(p) }

// answer reads a reply.
func (c *testClient) answer(op protocol.Op) error {
	if err := c.last(); err != nil {
		return err
	}
	return c.params.ReadReply(c.in, op, protocol.NewReply(op))
}

// ask sends a request and reads the reply.
func (c *testClient) ask(req protocol.Request) error {
	c.begin(c.encode(req))
	return c.answer(req.Op())
}

// close hangs up and returns the result of the server.
func (c *testClient) close() error {
	c.nc.Close()
	err := <-c.served
	c.served <- err
	return err
}

// isClosed reports whether the server has closed the connection.
func (c *testClient) isClosed() (closed bool, why error) {
	synctest.Wait()
	select {
	case err := <-c.served:
		c.served <- err
		return true, err
	default:
		return false, nil
	}
}

// wanted returns a request about n paths of 64 bytes each.
func wanted(n int) *protocol.QueryValidPathsRequest {
	paths := make([]storepath.Path, n)
	for i := range paths {
		var err error
		if paths[i], err = storepath.DefaultDir.MakePath("text", nixhash.Sum(nixhash.SHA256, fmt.Append(nil, i)), "a-name"); err != nil {
			panic(err)
		}
	}
	return &protocol.QueryValidPathsRequest{Paths: paths}
}

// checkReleased checks that no memory is held after all connections have ended.
func (w *testWorld) checkReleased() {
	w.t.Helper()
	for _, b := range w.m.budgets() {
		checkEmptyBudget(w.t, b)
	}
}

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

// p99 returns the 99th percentile of the durations of 1,000 queries.
func (c *testClient) p99(t *testing.T, req protocol.Request) time.Duration {
	t.Helper()
	took := make([]time.Duration, 1000)
	p := c.encode(req)
	for i := range took {
		start := time.Now()
		if _, err := c.nc.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := c.answer(req.Op()); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// While 32 connections of one user stall in a request, the queries of another user and of root
// take no longer than on an idle server.
func TestFairness(t *testing.T) {
	const noise = 50 * time.Millisecond        // from other programs on the machine
	for _, size := range []int{1250, 32_000} { // paths: 80 KB, 2 MB
		w := newTestWorld(t, 0, 0)
		l, err := net.Listen("unix", filepath.Join(socketDir(t), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dial := func(uid uint32, trusted bool) *testClient {
			ours, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return w.serve(ours, theirs, uid, trusted)
		}
		queries := []protocol.Request{&protocol.QueryPathInfoRequest{Path: w.base}, wanted(200)}
		users := []*testClient{dial(2, false), dial(0, true)}
		idle := make(map[int]time.Duration)
		for i, req := range queries {
			idle[i] = max(users[0].p99(t, req), users[1].p99(t, req))
		}
		var stalled []*testClient
		for range 32 {
			c := dial(1, false)
			p := c.encode(wanted(size))
			c.begin(p[:len(p)/2])
			stalled = append(stalled, c)
		}
		time.Sleep(50 * time.Millisecond)
		for i, req := range queries {
			for _, c := range users {
				c.nc.SetDeadline(time.Now().Add(time.Minute))
				if got := c.p99(t, req); got > 2*idle[i]+5*time.Millisecond+noise {
					t.Errorf("with stalled requests of %d paths a query takes %v, on an idle server %v", size, got, idle[i])
				} else {
					t.Logf("%v, %v idle", got, idle[i])
				}
				// A request of the same size does not wait either.
				start := time.Now()
				if err := c.ask(wanted(size)); err != nil || time.Since(start) > 5*time.Second {
					t.Errorf("a request of %d paths takes %v, %v", size, time.Since(start), err)
				}
			}
		}
		for _, c := range append(users, stalled...) {
			c.close()
		}
		w.checkReleased()
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
