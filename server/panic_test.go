package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

var errBug = errors.New("a bug in the store")

// A broken store panics, or exits its goroutine, at the place that the test chooses.
type broken struct {
	*memstore.Store
	where string
	fail  func()
}

func (b *broken) at(where string) {
	if b.where == where {
		b.fail()
	}
}

func (b *broken) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	b.at("query")
	return b.Store.QueryPathInfo(ctx, path)
}
func (b *broken) Session(context.Context) (store.Store, error) {
	b.at("open session")
	return b, nil
}
func (b *broken) Close() error {
	b.at("close session")
	return nil
}
func (b *broken) AddToStore(_ context.Context, _ string, _ storepath.Method, _ nixhash.Algorithm, _ []storepath.Path, contents io.Reader, _ *store.AddOptions) (*store.PathInfo, error) {
	io.ReadFull(contents, make([]byte, 100))
	b.at("upload")
	return nil, io.ErrNoProgress
}
func (b *broken) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	b.at("open archive")
	return brokenArchive{b}, nil
}
func (b *broken) OptimiseStore(ctx context.Context) error {
	h := activity.HandlerOf(ctx)
	done := make(chan struct{})
	go func() { // here a panic of the handler would end the process
		defer close(done)
		h.HandleEvent(activity.Log{Text: "working"})
		h.HandleEvent(brokenEvent{})
		h.HandleEvent(nil)
	}()
	<-done
	b.at("optimise")
	return nil
}

type brokenArchive struct{ b *broken }

func (a brokenArchive) Read(p []byte) (int, error) {
	a.b.at("read archive")
	return 0, io.EOF
}
func (a brokenArchive) Close() error {
	a.b.at("close archive")
	return nil
}

// brokenEvent is an event of an unknown type.
type brokenEvent struct{ activity.Event }

// places are the methods in which a store can fail, with a request that calls the method.
var places = map[string]protocol.Request{
	"query":         &protocol.QueryPathInfoRequest{Path: absent},
	"open session":  &protocol.SyncWithGCRequest{},
	"close session": &protocol.SyncWithGCRequest{},
	"upload":        &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256},
	"open archive":  &protocol.NarFromPathRequest{Path: absent},
	"read archive":  &protocol.NarFromPathRequest{Path: absent},
	"close archive": &protocol.NarFromPathRequest{Path: absent},
	"optimise":      &protocol.OptimiseStoreRequest{},
	"before":        &protocol.SyncWithGCRequest{},
}

var bugs = map[string]func(){
	"panic":         func() { panic(errBug) },
	"runtime error": func() { var m map[string]int; m["x"] = 1 },
	"panic(nil)":    func() { panic(nil) },
	"Goexit":        runtime.Goexit,
}

// A bug of the store closes one connection. Its client gets an error, and the other clients are
// served.
func TestPanicEndsOneConnection(t *testing.T) {
	for where, req := range places {
		for kind, bug := range bugs {
			t.Run(where+" "+kind, func(t *testing.T) {
				s := &broken{memstore.New(nil), where, bug}
				h := startHost(t, &server.Server{Store: s, Options: &server.Options{Before: func(context.Context, protocol.Request) error {
					s.at("before")
					return nil
				}}})
				c, err := h.dial()
				if err == nil {
					c.nc.SetDeadline(time.Now().Add(time.Minute))
					var body []byte
					if req.Op() == protocol.AddToStore {
						body = make([]byte, 100_000)
					}
					_, err = c.ask(req, body)
				}
				if c != nil {
					c.nc.Close()
				}
				if after := where == "close session" || where == "read archive" || where == "close archive"; !after && (err == nil || !strings.Contains(err.Error(), "internal error")) {
					t.Errorf("the client gets %v", err)
				}
				if !h.said("panic_test.go") { // part of the stack
					t.Errorf("the panic was not reported: %q", h.lines)
				}
				s.where = ""
				must[*protocol.PathsReply](h.mustDial(), &protocol.QueryAllValidPathsRequest{}, nil)
				h.stop(t)
			})
		}
	}
}

// stop shuts the server down, which waits for all connections.
func (h *host) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// Serve returns the panic. In a synctest bubble the test fails if a goroutine of the connection
// remains.
func TestPanicIsReturned(t *testing.T) {
	for where, req := range places {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &broken{memstore.New(nil), where, func() { panic(errBug) }}
				c := connect(t, s, &server.Options{Before: func(context.Context, protocol.Request) error {
					s.at("before")
					return nil
				}})
				c.greetAndAsk(req)
				checkPanic(t, c.hangUp())
			})
		})
	}
}

// greetAndAsk performs the handshake and sends a request, unless the server closes the
// connection before.
func (c *client) greetAndAsk(req protocol.Request) {
	var err error
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, c.nc, storepath.DefaultDir); err != nil {
		return
	}
	if c.messages() != nil {
		return
	}
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		c.t.Fatal(err)
	}
	if req.Op() == protocol.AddToStore {
		p = append(p, make([]byte, 1000)...)
	}
	go c.nc.Write(p)
	io.Copy(io.Discard, io.LimitReader(c.in, 8)) // the server has begun to answer
	synctest.Wait()
}

func checkPanic(t *testing.T, err error) {
	t.Helper()
	var p *server.PanicError
	if !errors.As(err, &p) || !errors.Is(err, errBug) || !strings.Contains(string(p.Stack), "panic_test.go") {
		t.Errorf("Serve returns %v", err)
	}
}

// A brokenConn panics when the test wants it.
type brokenConn struct {
	net.Conn
	where string
}

func (b *brokenConn) Read(p []byte) (int, error) {
	if b.where == "read" {
		panic(errBug)
	}
	return b.Conn.Read(p)
}
func (b *brokenConn) Write(p []byte) (int, error) {
	if b.where == "write" {
		panic(errBug)
	}
	return b.Conn.Write(p)
}
func (b *brokenConn) Close() error {
	b.Conn.Close()
	if b.where == "close" {
		panic(errBug)
	}
	return nil
}

// A panic on a goroutine that reads ahead or writes log lines is contained, too.
func TestPanicOfTheConnection(t *testing.T) {
	for _, where := range []string{"read", "write", "close"} {
		for _, lasts := range []bool{false, true} {
			t.Run(where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					b := &brokenConn{Conn: theirs}
					c := &client{t: t, nc: ours, in: wire.NewReader(ours, 4096), served: make(chan error, 1)}
					opts := &server.Options{Before: func(ctx context.Context, req protocol.Request) error {
						if b.where = where; lasts {
							activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "working"})
							<-ctx.Done()
							return context.Cause(ctx)
						}
						return nil
					}}
					go func() { c.served <- server.Serve(t.Context(), b, memstore.New(nil), opts) }()
					c.greetAndAsk(&protocol.SyncWithGCRequest{})
					ours.Close()
					if err := <-c.served; where != "close" && !(where == "read" && !lasts) {
						checkPanic(t, err)
					}
				})
			})
		}
	}
}

// A panicking event handler does not stop the server.
func TestPanicOfTheEventHandler(t *testing.T) {
	for kind, bug := range bugs {
		t.Run(kind, func(t *testing.T) {
			l := make(pipes, 1)
			ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { bug() }))
			s := &server.Server{Store: memstore.New(nil)}
			ended := make(chan error)
			go func() { ended <- s.Serve(ctx, l) }()
			for range 3 {
				ours, theirs := net.Pipe()
				l <- theirs
				ours.SetDeadline(time.Now().Add(time.Minute))
				c := &client{t: t, nc: ours, in: wire.NewReader(ours, 4096)}
				_, _, err := protocol.ClientHandshake(c.in, ours, storepath.DefaultDir)
				if kind != "Goexit" && err != nil {
					t.Errorf("a client is not served: %v", err)
				}
				ours.Close()
			}
			close(l)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// pipes is a listener that accepts the connections of the channel.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	nc, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return nc, nil
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{} }
