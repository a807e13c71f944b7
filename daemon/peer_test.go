package daemon_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"pix/activity"
	"pix/daemon"
	"pix/internal/testenv"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A peer is the daemon's end of a connection, played by a test. Connections are made by
// net.Pipe, which blocks every write until it is read, so that possible deadlocks happen.
type peer struct {
	t      *testing.T
	nc     net.Conn
	in     *wire.Reader
	params protocol.Params
}

// play runs script as the daemon and client as the user of a connection, in a synctest bubble:
// time passes at once when both wait, and a remaining goroutine is a failure.
func play(t *testing.T, version protocol.Version, opts *daemon.Options, script func(*peer), client func(context.Context, *daemon.Conn)) {
	t.Helper()
	g := protocol.Greeting{DaemonVersion: version, NixVersion: "test", Trust: protocol.Trusted}
	playAs(t, g, 0, opts, script, client)
}

// playAs is play with a daemon that has the given greeting and features.
func playAs(t *testing.T, g protocol.Greeting, features protocol.Features, opts *daemon.Options, script func(*peer), client func(context.Context, *daemon.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer theirs.Close()
			p := &peer{t: t, nc: theirs, in: wire.NewReader(theirs, 0)}
			var err error
			p.params, err = protocol.ServerHandshake(p.in, theirs, storepath.DefaultDir, g, features)
			if err != nil {
				t.Errorf("handshake: %v", err)
				return
			}
			p.say(protocol.Message{Kind: protocol.MessageLast})
			script(p)
		}()
		c, err := daemon.NewConn(t.Context(), ours, opts)
		if err != nil {
			t.Fatal(err)
		}
		client(t.Context(), c)
		c.Close()
		<-ended
	})
}

func (p *peer) write(b []byte, err error) {
	if err != nil {
		p.t.Errorf("the script cannot encode: %v", err)
	}
	p.nc.Write(b) // the client reports if it no longer reads
}

func (p *peer) say(m protocol.Message) { p.write(p.params.AppendMessage(nil, m)) }

func (p *peer) log(text string) {
	p.say(protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: text}})
}

func (p *peer) fail(message string) {
	p.say(protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: message}})
}

// next reads a request. At the end of the stream it returns nil.
func (p *peer) next() protocol.Request {
	req, err := p.params.ReadRequest(p.in)
	if err != nil && p.t != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Errorf("the script cannot read a request: %v", err)
	}
	if err != nil {
		return nil // not an incomplete request
	}
	return req
}

func (p *peer) answer(op protocol.Op, r protocol.Reply) {
	b, err := p.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
	if err == nil {
		b, err = p.params.AppendReply(b, op, r)
	}
	p.write(b, err)
}

// serve answers IsValidPath until the connection ends.
func (p *peer) serve() {
	for {
		req, ok := p.next().(*protocol.IsValidPathRequest)
		if !ok {
			return
		}
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: isKnown(req.Path)})
	}
}

// stillGood checks that the connection answers correctly, twice.
func stillGood(t *testing.T, ctx context.Context, c *daemon.Conn) {
	t.Helper()
	for path, want := range map[storepath.Path]bool{helloPath: true, absent: false} {
		if got, err := c.IsValidPath(ctx, path); err != nil || got != want {
			t.Errorf("IsValidPath(%s) = %v, %v, want %v", path, got, err, want)
		}
	}
	if err := c.Err(); err != nil {
		t.Errorf("the connection is broken: %v", err)
	}
}

// broken checks that the connection reports at once that it is broken, and why.
func broken(t *testing.T, ctx context.Context, c *daemon.Conn, why error) {
	t.Helper()
	if err := c.Err(); err == nil || why != nil && !errors.Is(err, why) {
		t.Errorf("the connection's error is %v, want %v", err, why)
	}
	if _, err := c.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrConnLost) {
		t.Errorf("a call on a broken connection: %v, want ErrConnLost", err)
	}
}

var newest = protocol.MaxVersion

// fakeServe plays a daemon on one end of a connection.
func fakeServe(nc net.Conn, version protocol.Version, serve func(*peer)) {
	defer nc.Close()
	p := &peer{nc: nc, in: wire.NewReader(nc, 0)}
	var err error
	p.params, err = protocol.ServerHandshake(p.in, nc, storepath.DefaultDir,
		protocol.Greeting{DaemonVersion: version, NixVersion: "test", Trust: protocol.Trusted}, 0)
	if err != nil {
		return
	}
	p.say(protocol.Message{Kind: protocol.MessageLast})
	serve(p)
}

// listening plays a daemon on each connection to a Unix socket, until the test ends.
func listening(t *testing.T, serve func(*peer)) daemon.Unix {
	t.Helper()
	dir := testenv.SocketDir(t)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			conns.Go(func() { fakeServe(nc, newest, serve) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return daemon.Unix{Path: socket}
}
