package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"pix/activity"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// A client is the other end of a connection. It uses only package protocol, so that a test can
// also violate the protocol.
type client struct {
	t      testing.TB
	nc     net.Conn
	in     *wire.Reader
	params protocol.Params
	greet  protocol.Greeting
	events []activity.Event // received before the last reply
	served chan error       // the result of Serve
}

// connect serves s to a new client, before the handshake. The connection ends with the test.
func connect(t testing.TB, s store.Store, opts *server.Options) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := newClient(t, ours)
	go func() { c.served <- server.Serve(context.Background(), theirs, s, opts) }()
	t.Cleanup(func() { c.hangUp() })
	return c
}

// dial connects and performs the handshake.
func dial(t testing.TB, s store.Store, opts *server.Options) *client {
	t.Helper()
	c := connect(t, s, opts)
	c.greetAs(s.Dir())
	return c
}

func newClient(t testing.TB, nc net.Conn) *client {
	return &client{t: t, nc: nc, in: wire.NewReader(nc, 4096), served: make(chan error, 1)}
}

// greetAs performs the handshake for a store directory.
func (c *client) greetAs(dir storepath.Dir) {
	c.t.Helper()
	var err error
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, c.nc, dir); err != nil {
		c.t.Fatal(err)
	}
	if err := c.messages(); err != nil {
		c.t.Fatal(err)
	}
}

// hangUp ends the connection and returns the result of Serve.
func (c *client) hangUp() error {
	c.nc.Close()
	err := <-c.served
	c.served <- err
	return err
}

// messages reads messages up to Last or Error.
func (c *client) messages() error {
	c.events = nil
	for {
		m, err := c.params.ReadMessage(c.in)
		switch {
		case err != nil:
			return fmt.Errorf("lost: %w", err)
		case m.Kind == protocol.MessageLast:
			return nil
		case m.Kind == protocol.MessageError:
			return m.Err
		case m.Event != nil:
			c.events = append(c.events, m.Event)
		default:
			return fmt.Errorf("unexpected %s", m.Kind)
		}
	}
}

// send sends a request.
func (c *client) send(req protocol.Request) {
	c.t.Helper()
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.nc.Write(p); err != nil {
		c.t.Fatalf("%s: %v", req.Op(), err)
	}
}

// ask sends a request and its body, and returns the reply.
func (c *client) ask(req protocol.Request, body []byte) (protocol.Reply, error) {
	c.t.Helper()
	c.send(req)
	sent := make(chan struct{})
	row, _ := protocol.Lookup(req.Op())
	switch kind := row.Body(c.params); kind {
	case protocol.FramedBody:
		go func() {
			defer close(sent)
			frames := wire.NewFrameWriter(c.nc)
			for len(body) > 0 { // small frames, to test that the server joins them
				n := min(len(body), 1000)
				frames.Write(body[:n])
				body = body[n:]
			}
			frames.Close()
		}()
	case protocol.NARBody:
		go func() { defer close(sent); c.nc.Write(body) }()
	case protocol.AskedBody:
		close(sent)
		return c.askedFor(req, body)
	default:
		close(sent)
	}
	err := c.messages()
	<-sent
	if err != nil {
		return nil, err
	}
	return c.reply(req.Op())
}

func (c *client) reply(op protocol.Op) (protocol.Reply, error) {
	reply := protocol.NewReply(op)
	return reply, c.params.ReadReply(c.in, op, reply)
}

// askedFor sends a request, and its body in the pieces that the server asks for.
func (c *client) askedFor(req protocol.Request, body []byte) (protocol.Reply, error) {
	for {
		m, err := c.params.ReadMessage(c.in)
		switch {
		case err != nil:
			return nil, err
		case m.Kind == protocol.MessageError:
			return nil, m.Err
		case m.Kind == protocol.MessageLast:
			return c.reply(req.Op())
		case m.Kind == protocol.MessageRead:
			if len(body) == 0 {
				return nil, fmt.Errorf("the server asks for more than the body")
			}
			n := min(uint64(len(body)), m.Want, 100)
			c.nc.Write(wire.AppendString(nil, body[:n]))
			body = body[n:]
		}
	}
}

// must is ask for a request that must not fail.
func must[R protocol.Reply](c *client, req protocol.Request, body []byte) R {
	c.t.Helper()
	reply, err := c.ask(req, body)
	if err != nil {
		c.t.Fatalf("%s in %s: %v", req.Op(), c.params.Version, err)
	}
	return reply.(R)
}

// archive reads the archive that follows the reply.
func (c *client) archive() []byte {
	c.t.Helper()
	b, h := new(sink), nar.NewHasher(nixhash.SHA256)
	if _, err := nar.Copy(io.MultiWriter(b, h), c.in); err != nil {
		c.t.Fatal(err)
	}
	return b.p
}

type sink struct{ p []byte }

func (s *sink) Write(p []byte) (int, error) { s.p = append(s.p, p...); return len(p), nil }

// fileNAR returns the archive of a regular file.
func fileNAR(contents string) []byte {
	b := new(sink)
	w := nar.NewWriter(b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	return b.p
}

// newStore returns a store with a text, and an object that refers to it.
func newStore(t testing.TB) (s *memstore.Store, text, referrer storepath.Path) {
	t.Helper()
	s = memstore.New(nil)
	session, err := s.Session(t.Context()) // objects that it adds can be collected after it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	text, err = store.AddText(t.Context(), session, "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	referrer, err = store.AddText(t.Context(), session, "referrer", "see "+string(text), []storepath.Path{text})
	if err != nil {
		t.Fatal(err)
	}
	return s, text, referrer
}

// importOf returns the info of an object without a content address, and its archive.
func importOf(t testing.TB, name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR("object " + name)
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references,
	}, archive
}

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")
