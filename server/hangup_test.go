package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// A slowStore answers when the test allows it, or when its context ends.
type slowStore struct {
	store.Store
	begun chan struct{}
	ended chan error // why the work was cancelled, or nil
	let   chan struct{}
}

func newSlowStore() *slowStore {
	return &slowStore{memstore.New(nil), make(chan struct{}, 10), make(chan error, 10), make(chan struct{})}
}

func (s *slowStore) IsValidPath(ctx context.Context, _ storepath.Path) (bool, error) {
	s.begun <- struct{}{}
	select {
	case <-ctx.Done():
		s.ended <- context.Cause(ctx)
		return false, context.Cause(ctx)
	case <-s.let:
		s.ended <- nil
		return true, nil
	}
}

// A transport is a kind of connection whose client can close only its writing end.
type transport struct {
	name string
	dial func(t *testing.T, s store.Store) *client
	// closeWrite closes the writing end; close hangs up.
	closeWrite, close func(*client)
}

func transports() []transport {
	socket := func(network, address string) func(t *testing.T, s store.Store) *client {
		return func(t *testing.T, s store.Store) *client {
			if network == "unix" {
				address = testenv.SocketDir(t) + "/s"
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Skip(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				server.Accept(ctx, l, func(ctx context.Context, nc net.Conn) { server.Serve(ctx, nc, s, trusted) })
			}()
			t.Cleanup(func() { cancel(); <-ended })
			nc, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return greetOn(t, nc)
		}
	}
	half := func(c *client) { c.nc.(interface{ CloseWrite() error }).CloseWrite() }
	whole := func(c *client) { c.nc.Close() }
	return []transport{
		{"unix", socket("unix", ""), half, whole},
		{"tcp", socket("tcp", "127.0.0.1:0"), half, whole},
		{"stdio", dialStdio, half, whole},
	}
}

// greetOn performs the handshake on a connection.
func greetOn(t *testing.T, nc net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	c := &client{t: t, nc: nc, in: wire.NewReader(nc, 4096)}
	var err error
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err == nil {
		err = c.messages()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// halfPipes is a connection that consists of two pipes.
type halfPipes struct {
	net.Conn // nil
	r, w     *os.File
}

func (h *halfPipes) Read(p []byte) (int, error)        { return h.r.Read(p) }
func (h *halfPipes) Write(p []byte) (int, error)       { return h.w.Write(p) }
func (h *halfPipes) SetReadDeadline(d time.Time) error { return nil }
func (h *halfPipes) CloseWrite() error                 { return h.w.Close() }
func (h *halfPipes) Close() error                      { return errors.Join(h.r.Close(), h.w.Close()) }

func dialStdio(t *testing.T, s store.Store) *client {
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	nc, err := server.Stdio(theirIn, theirOut)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		server.Serve(ctx, nc, s, trusted)
		theirIn.Close()
		theirOut.Close()
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return greetOn(t, &halfPipes{r: out, w: in})
}

// A client that closes its writing end after one or more requests gets all replies.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	for _, tr := range transports() {
		for _, n := range []int{1, 3, 300} {
			t.Run(tr.name, func(t *testing.T) {
				s := newSlowStore()
				c := tr.dial(t, s)
				p, err := c.params.AppendRequest(nil, &protocol.IsValidPathRequest{Path: absent})
				if err != nil {
					t.Fatal(err)
				}
				c.nc.Write(bytes.Repeat(p, n))
				tr.closeWrite(c)
				go func() {
					for i := range n {
						<-s.begun
						if i < 3 {
							time.Sleep(150 * time.Millisecond) // until the server has noticed the end of the stream
						}
						s.let <- struct{}{}
						<-s.ended
					}
				}()
				for range n {
					if err := c.messages(); err != nil {
						t.Fatal(err)
					}
					if reply, err := c.reply(protocol.IsValidPath); err != nil || !reply.(*protocol.IsValidPathReply).Valid {
						t.Fatalf("%v, %v", reply, err)
					}
				}
				if err := c.in.Peek(); err != io.EOF {
					t.Errorf("after the last reply: %v, want the end", err)
				}
			})
		}
	}
}

// The server notices a hang-up while the store works, even if the client has sent more requests
// than are read ahead, or had closed its writing end before.
func TestClientThatIsGone(t *testing.T) {
	for _, tr := range transports() {
		if tr.name == "tcp" {
			continue // TCP shows a hang-up only after a write
		}
		for name, before := range map[string]func(*client){
			"after a request":           func(*client) {},
			"after many requests":       func(c *client) { go c.nc.Write(make([]byte, 100<<10)) },
			"after closing for writing": tr.closeWrite,
			"after both": func(c *client) {
				c.nc.Write(wire.AppendString(wire.AppendUint64(nil, uint64(protocol.IsValidPath)), absent))
				tr.closeWrite(c)
			},
		} {
			t.Run(tr.name+" "+name, func(t *testing.T) {
				s := newSlowStore()
				c := tr.dial(t, s)
				c.send(&protocol.IsValidPathRequest{Path: absent})
				<-s.begun
				before(c)
				time.Sleep(250 * time.Millisecond)
				select {
				case err := <-s.ended:
					t.Fatalf("the work ended before the client hung up: %v", err)
				default:
				}
				tr.close(c)
				select {
				case err := <-s.ended:
					if err == nil || err.Error() != "the client has hung up" {
						t.Errorf("the work ended with %v", err)
					}
				case <-time.After(time.Minute):
					t.Fatal("the hang-up is not noticed")
				}
			})
		}
	}
}

// On TCP the server notices a hang-up when it writes.
func TestClientThatIsGoneOnTCP(t *testing.T) {
	s := newSlowStore()
	report := make(chan struct{})
	opts := &server.Options{Trusted: true, Before: func(ctx context.Context, _ protocol.Request) error {
		go func() {
			for range report {
				activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "working"})
			}
		}()
		return nil
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	go server.Accept(t.Context(), l, func(ctx context.Context, nc net.Conn) { server.Serve(ctx, nc, s, opts) })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := greetOn(t, nc)
	c.send(&protocol.IsValidPathRequest{Path: absent})
	<-s.begun
	nc.Close()
	defer close(report)
	for deadline := time.After(time.Minute); ; {
		select {
		case report <- struct{}{}:
			time.Sleep(10 * time.Millisecond)
		case err := <-s.ended:
			if err == nil {
				t.Error("the work was not cancelled")
			}
			return
		case <-deadline:
			t.Fatal("the hang-up is not noticed")
		}
	}
}

// A client that closes its writing end in the middle of an upload gets the error.
func TestHalfClosedUpload(t *testing.T) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			c := tr.dial(t, memstore.New(nil))
			c.nc.Write(append(addFlat(), wire.AppendUint64(nil, 1000)...))
			c.nc.Write(make([]byte, 100))
			tr.closeWrite(c)
			if err := c.messages(); err == nil {
				t.Error("half an upload was accepted")
			}
			if err := c.in.Peek(); err != io.EOF {
				t.Errorf("afterwards: %v, want the end", err)
			}
		})
	}
}

// A waitingArchive is an archive whose contents come only after its context ends.
type waitingArchive struct {
	store.Store
	begun chan struct{}
	ended chan error
}

func (s *waitingArchive) NARFromPath(ctx context.Context, _ storepath.Path) (io.ReadCloser, error) {
	return io.NopCloser(readerFunc(func([]byte) (int, error) {
		close(s.begun)
		<-ctx.Done()
		s.ended <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	})), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The server notices a hang-up while the store prepares the next bytes of an archive.
func TestClientThatIsGoneDuringArchive(t *testing.T) {
	for _, tr := range transports() {
		if tr.name == "tcp" {
			continue // TCP shows a hang-up only after a write
		}
		t.Run(tr.name, func(t *testing.T) {
			s := &waitingArchive{memstore.New(nil), make(chan struct{}), make(chan error, 1)}
			c := tr.dial(t, s)
			c.send(&protocol.NarFromPathRequest{Path: absent})
			if err := c.messages(); err != nil {
				t.Fatal(err)
			}
			<-s.begun
			tr.close(c)
			select {
			case <-s.ended:
			case <-time.After(time.Minute):
				t.Error("the hang-up is not noticed")
			}
		})
	}
}

// addFlat returns a request to add a file.
func addFlat() []byte {
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	b, err := p.AppendRequest(nil, &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
	if err != nil {
		panic(err)
	}
	return b
}
