package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
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

func TestErrorDuringWork(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		for range 2 {
			p.next()
			p.fail("disk is full")
		}
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		for range 2 {
			_, err := c.IsValidPath(ctx, helloPath)
			var said *activity.Error
			if !errors.As(err, &said) || said.Message != "disk is full" {
				t.Errorf("%v, want the daemon's error", err)
			}
			if errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("%v is not a loss of the connection", err)
			}
		}
		stillGood(t, ctx, c)
	})
}

// An error before work comes twice, followed by a hang-up. The second one answers no call.
func TestErrorBeforeWork(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		p.fail("not allowed")
		p.fail("not allowed")
	}, func(ctx context.Context, c *daemon.Conn) {
		answers := make(chan error)
		for range 2 {
			go func() {
				_, err := c.IsValidPath(ctx, helloPath)
				answers <- err
			}()
		}
		var said, lost int
		for range 2 {
			err := <-answers
			switch {
			case errors.Is(err, daemon.ErrConnLost):
				lost++
			case err != nil && err.Error() == "not allowed":
				said++
			default:
				t.Errorf("%v", err)
			}
		}
		if said != 1 || lost != 1 {
			t.Errorf("%d calls got the daemon's error and %d lost the connection, want one each", said, lost)
		}
		synctest.Wait()
		broken(t, ctx, c, nil)
		if want := "the daemon hung up after saying: not allowed"; c.Err().Error() != want {
			t.Errorf("the connection's error is %q, want %q", c.Err(), want)
		}
	})
}

func TestCancelledQuery(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		time.Sleep(time.Second)
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: false})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithTimeoutCause(ctx, 10*time.Millisecond, errors.New("too late"))
		defer cancel()
		start := time.Now()
		_, err := c.IsValidPath(short, helloPath)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, context.Cause(short)) {
			t.Errorf("%v, want the context's error and its cause", err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		stillGood(t, ctx, c) // it must not get the answer to the cancelled query
	})
}

func TestCancelledBefore(t *testing.T) {
	play(t, newest, nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		dead, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := c.IsValidPath(dead, helloPath); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		stillGood(t, ctx, c)
	})
}

// A cancelled query whose answer never comes breaks the connection, and the queries after it
// fail.
func TestCancelledQueryNeverAnswered(t *testing.T) {
	play(t, newest, &daemon.Options{DrainTimeout: time.Second}, func(p *peer) {
		p.next()
		p.next()
		io.Copy(io.Discard, p.in)
	}, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := c.IsValidPath(short, helloPath); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		start := time.Now()
		if _, err := c.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrConnLost) {
			t.Errorf("another query: %v, want ErrConnLost", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("another query waited for %v", took)
		}
		broken(t, ctx, c, nil)
	})
}

// A daemon may send events before it reads the upload.
func TestLogFloodDuringUpload(t *testing.T) {
	const lines, size = 64, 1 << 20
	play(t, newest, nil, func(p *peer) {
		p.next()
		for range lines {
			p.log(string(bytes.Repeat([]byte("x"), size)))
		}
		if err := wire.NewFrameReader(p.in).Drain(); err != nil {
			t.Errorf("the body: %v", err)
		}
		p.answerAdded()
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		heard := 0
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			time.Sleep(time.Millisecond) // a slow handler delays the daemon, and loses nothing
			heard += len(e.(activity.Log).Text)
		}))
		path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		if err != nil || path != helloPath {
			t.Errorf("%s, %v", path, err)
		}
		if heard != lines*size {
			t.Errorf("got %d bytes of logs, want %d", heard, lines*size)
		}
		stillGood(t, ctx, c)
	})
}

func (p *peer) answerAdded() {
	reply := new(protocol.AddToStoreReply)
	reply.Info.Path = helloPath
	reply.Info.NARHash = zeroHash
	p.answer(protocol.AddToStore, reply)
}

// Log lines of a query are dropped if they come faster than they are handled. Other queries do
// not wait.
func TestLogFloodDuringQuery(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		for range 64 {
			p.log(string(bytes.Repeat([]byte("x"), 1<<20)))
		}
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		var last string
		hear := activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			time.Sleep(time.Hour)
			last = e.(activity.Log).Text
		}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if valid, err := c.IsValidPath(hear, helloPath); !valid || err != nil {
				t.Errorf("%v, %v", valid, err)
			}
		}()
		synctest.Wait()
		start := time.Now()
		stillGood(t, ctx, c)
		if time.Since(start) > 0 {
			t.Error("another query waited for a slow handler")
		}
		<-done
		if want := "messages of the daemon were dropped"; !bytes.Contains([]byte(last), []byte(want)) {
			t.Errorf("the last event is %.80q, want %q in it", last, want)
		}
	})
}

// The error of a daemon that fails in the middle of an upload is not lost, whether the daemon
// hangs up or continues.
func TestErrorDuringUpload(t *testing.T) {
	big := string(bytes.Repeat([]byte("x"), 10<<20))
	for _, c := range []struct {
		name string
		then func(*peer, *wire.FrameReader)
		good bool
	}{
		{"hangs up", func(*peer, *wire.FrameReader) {}, false},
		{"goes on", func(p *peer, body *wire.FrameReader) {
			if err := body.Drain(); err != nil {
				t.Errorf("the frames do not end: %v", err)
			}
			p.serve()
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) {
				p.next()
				body := wire.NewFrameReader(p.in)
				io.CopyN(io.Discard, body, 100_000)
				p.fail("no space left on device")
				c.then(p, body)
			}, func(ctx context.Context, conn *daemon.Conn) {
				_, err := conn.AddTextToStore(ctx, "big", big, nil)
				if err == nil || err.Error() != "no space left on device" {
					t.Errorf("%v, want the daemon's message", err)
				}
				if c.good {
					stillGood(t, ctx, conn)
				} else {
					synctest.Wait()
					time.Sleep(time.Minute)
					broken(t, ctx, conn, nil)
				}
			})
		})
	}
}

func TestCancelledUpload(t *testing.T) {
	big := string(bytes.Repeat([]byte("x"), 10<<20))
	play(t, newest, nil, func(p *peer) {
		p.next()
		io.CopyN(io.Discard, wire.NewFrameReader(p.in), 100_000)
		time.Sleep(time.Hour) // and stops reading
	}, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.AddTextToStore(short, "big", big, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("returned after %v", took)
		}
		broken(t, ctx, c, context.DeadlineExceeded)
	})
}

// A violation of the protocol breaks the connection, since the next message cannot be found.
func TestLies(t *testing.T) {
	last := wire.AppendUint64(nil, uint64(protocol.MessageLast))
	word := func(words ...uint64) (b []byte) {
		for _, w := range words {
			b = wire.AppendUint64(b, w)
		}
		return b
	}
	for name, said := range map[string][]byte{
		"an unknown message":              word(0x1234),
		"a request for bytes":             word(uint64(protocol.MessageRead), 8),
		"bytes":                           wire.AppendString(word(uint64(protocol.MessageWrite)), "x"),
		"an absurd log line":              word(uint64(protocol.MessageLog), 1<<63),
		"an absurd number of fields":      word(uint64(protocol.MessageEvent), 1, 101, 1<<62),
		"an unknown kind of field":        word(uint64(protocol.MessageEvent), 1, 101, 1, 7),
		"an error of unknown form":        wire.AppendString(word(uint64(protocol.MessageError)), "Fatal"),
		"an error with a position":        wire.AppendUint64(wire.AppendString(wire.AppendString(wire.AppendUint64(wire.AppendString(word(uint64(protocol.MessageError)), "Error"), 0), "Error"), "x"), 1),
		"an absurd number of paths":       append(last, word(1<<62)...),
		"a path of another store":         append(bytes.Clone(last), wire.AppendStrings(nil, []string{"/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"})...),
		"a path that is none":             append(bytes.Clone(last), wire.AppendStrings(nil, []string{"/nix/store/x"})...),
		"a path of an absurd length":      append(bytes.Clone(last), word(1, 1<<40)...),
		"padding that is not zero":        append(bytes.Clone(last), append(word(1, 1), "xyyyyyyy"...)...),
		"a premature end in the reply":    append(bytes.Clone(last), word(2)...),
		"a premature end in the messages": word(uint64(protocol.MessageLog), 100),
		"a premature end":                 {0x67},
		"nothing":                         {},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) {
				p.next()
				p.write(said, nil)
			}, func(ctx context.Context, c *daemon.Conn) {
				_, err := c.QueryValidPaths(ctx, []storepath.Path{helloPath}, false)
				if !errors.Is(err, daemon.ErrConnLost) {
					t.Errorf("%v, want ErrConnLost", err)
				}
				broken(t, ctx, c, nil)
			})
		})
	}
}

func TestPathOfAnotherStoreIsNotSent(t *testing.T) {
	play(t, newest, nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		for _, path := range []storepath.Path{"", "/nix/store/x", "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x", helloPath + "/x"} {
			_, err := c.IsValidPath(ctx, path)
			var bad *storepath.Error
			if !errors.As(err, &bad) {
				t.Errorf("IsValidPath(%q): %v, want a storepath.Error", path, err)
			}
			if _, err := c.AddTextToStore(ctx, "x", "x", []storepath.Path{path}); !errors.As(err, &bad) {
				t.Errorf("AddTextToStore with a reference to %q: %v, want a storepath.Error", path, err)
			}
		}
		if _, err := c.AddTextToStore(ctx, "a b", "x", nil); err == nil {
			t.Error("an invalid name was accepted")
		}
		stillGood(t, ctx, c)
	})
}

// An unrequested message breaks an idle connection before it is used again.
func TestUnaskedMessages(t *testing.T) {
	for _, m := range []protocol.Message{
		{Kind: protocol.MessageLast},
		{Kind: protocol.MessageError, Err: &activity.Error{Message: "shutting down"}},
		{Kind: protocol.MessageLog, Event: activity.Log{Text: "shutting down"}},
		{Kind: protocol.MessageStop, Event: activity.Stop{ID: 1}},
	} {
		play(t, newest, nil, func(p *peer) { p.say(m) }, func(ctx context.Context, c *daemon.Conn) {
			synctest.Wait()
			broken(t, ctx, c, nil)
		})
	}
}

func TestClose(t *testing.T) {
	play(t, newest, nil, func(p *peer) { io.Copy(io.Discard, p.nc) }, func(ctx context.Context, c *daemon.Conn) {
		errs := make(chan error)
		go func() {
			_, err := c.IsValidPath(ctx, helloPath)
			errs <- err
		}()
		go func() {
			_, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
			errs <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, daemon.ErrConnLost) || !errors.Is(err, daemon.ErrClosed) {
				t.Errorf("%v, want ErrConnLost and ErrClosed", err)
			}
		}
		broken(t, ctx, c, daemon.ErrClosed)
		c.Close()
	})
}

// A panicking handler ends its call, but not readLoop.
func TestPanickingHandler(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		p.log("boo")
		io.Copy(io.Discard, p.in)
	}, func(ctx context.Context, c *daemon.Conn) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			ctx := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { panic("boo") }))
			c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		}()
		broken(t, ctx, c, nil)
	})
}

// An exclusive call waits for the queries before it, and the queries after it wait for it.
func TestExclusive(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		first := p.next().(*protocol.IsValidPathRequest)
		time.Sleep(time.Second)
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: first.Path != absent})
		if req, ok := p.next().(*protocol.AddToStoreRequest); !ok {
			t.Errorf("got %T instead of AddToStore", req)
		}
		if err := wire.NewFrameReader(p.in).Drain(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		p.answerAdded()
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		done := make(chan struct{}, 3)
		ask := func() {
			if valid, err := c.IsValidPath(ctx, helloPath); !valid || err != nil {
				t.Errorf("%v, %v", valid, err)
			}
			done <- struct{}{}
		}
		go ask()
		synctest.Wait()
		go func() {
			if _, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil {
				t.Error(err)
			}
			done <- struct{}{}
		}()
		synctest.Wait()
		go ask()
		synctest.Wait()
		impatient, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := c.IsValidPath(impatient, helloPath); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		for range 3 {
			<-done
		}
		stillGood(t, ctx, c)
	})
}

func TestOldDaemon(t *testing.T) {
	play(t, protocol.MakeVersion(21), nil, func(p *peer) {
		for range 2 {
			if _, ok := p.next().(*protocol.AddTextToStoreRequest); ok {
				p.answer(protocol.AddTextToStore, &protocol.PathReply{Path: helloPath})
			}
		}
		p.next()
		p.answer(protocol.QueryDerivationOutputNames, &protocol.QueryDerivationOutputNamesReply{Names: []string{"dev", "out"}})
		p.next()
		p.answer(protocol.QueryDerivationOutputs, &protocol.PathsReply{Paths: []storepath.Path{absent + "-dev", absent}})
		p.next()
		p.fail("path is gone")
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		for range 2 {
			if path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil || path != helloPath {
				t.Errorf("%s, %v", path, err)
			}
		}
		outputs, err := c.QueryDerivationOutputMap(ctx, absent+".drv")
		if err != nil || len(outputs) != 2 || outputs["out"] != absent || outputs["dev"] != absent+"-dev" {
			t.Errorf("%v, %v", outputs, err)
		}
		if _, err := c.QueryValidPaths(ctx, nil, true); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want ErrUnsupported", err)
		}
		if _, err := c.IsValidPath(ctx, helloPath); err == nil || err.Error() != "path is gone" {
			t.Errorf("%v", err)
		}
		stillGood(t, ctx, c)
	})
}
