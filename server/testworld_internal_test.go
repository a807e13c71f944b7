package server

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"

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
