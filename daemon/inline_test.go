//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/protocol"
	"pix/storepath"
)

// warmUp is more than the number of queries after which queries are made inline.
const warmUp = 20

// inlined plays a daemon on a socket and gives client a connection on which queries are made
// inline. script plays the daemon after that.
func inlined(t *testing.T, opts *daemon.Options, script func(*peer), client func(context.Context, *daemon.Conn)) {
	t.Helper()
	u := listening(t, func(p *peer) {
		for range warmUp {
			p.answer(p.next().Op(), &protocol.IsValidPathReply{Valid: true})
		}
		script(p)
		io.Copy(io.Discard, p.nc) // until the client has left
	})
	c, err := daemon.DialTransport(t.Context(), u, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.StayIdle()
	for range warmUp {
		if _, err := c.IsValidPath(t.Context(), helloPath); err != nil {
			t.Fatal(err)
		}
	}
	if !c.IsInline() {
		t.Fatal("queries are not made inline")
	}
	client(t.Context(), c)
}

// answerBytes returns the messages of the answer to IsValidPath.
func (p *peer) answerBytes(valid bool) []byte {
	b, err := p.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
	if err == nil {
		b, err = p.params.AppendReply(b, protocol.IsValidPath, &protocol.IsValidPathReply{Valid: valid})
	}
	if err != nil {
		panic(err)
	}
	return b
}

// awaitBreak waits until the connection is broken.
func awaitBreak(c *daemon.Conn) {
	broken := make(chan struct{})
	c.AfterBreak(func() { close(broken) })
	<-broken
}

// A query that is made inline uses no goroutine of the connection.
func TestInlineQueries(t *testing.T) {
	inlined(t, nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		for range 100 {
			stillGood(t, ctx, c)
			if !c.IsInline() {
				t.Fatal("a query was not made inline")
			}
		}
	})
}

// An answer may arrive in pieces of any size.
func TestInlineSplitAnswer(t *testing.T) {
	const size = 16
	inlined(t, nil, func(p *peer) {
		for at := 1; at < size; at++ {
			p.next()
			b := p.answerBytes(true)
			p.nc.Write(b[:at])
			runtime.Gosched()
			p.nc.Write(b[at:])
			for range warmUp {
				p.next()
				p.write(p.answerBytes(false), nil)
			}
		}
	}, func(ctx context.Context, c *daemon.Conn) {
		for at := 1; at < size; at++ {
			if valid, err := c.IsValidPath(ctx, helloPath); !valid || err != nil {
				t.Fatalf("split after %d bytes: %v, %v", at, valid, err)
			}
			for range warmUp {
				if valid, err := c.IsValidPath(ctx, helloPath); valid || err != nil {
					t.Fatalf("after an answer that was split after %d bytes: %v, %v", at, valid, err)
				}
			}
		}
	})
}

// An answer may be longer than the buffer of the connection.
func TestInlineLongAnswer(t *testing.T) {
	paths := make([]storepath.Path, 3000)
	for i := range paths {
		paths[i] = storepath.Path("/nix/store/" + strings.Repeat(string("0123456789abcdfghijklmnpqrsvwxyz"[i%32]), 32) + "-" + strings.Repeat("x", i%50+1))
	}
	inlined(t, nil, func(p *peer) {
		p.next()
		p.answer(protocol.QueryReferrers, &protocol.PathsReply{Paths: paths})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		got, err := c.QueryReferrers(ctx, helloPath)
		if err != nil || len(got) == 0 {
			t.Errorf("%d referrers, %v", len(got), err)
		}
		stillGood(t, ctx, c)
	})
}

// The handler gets the events before the answer, and the caller the error.
func TestInlineEventsAndErrors(t *testing.T) {
	inlined(t, nil, func(p *peer) {
		p.next()
		p.log("one")
		p.log("two")
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
		p.next()
		p.fail("disk is full")
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		var lines []string
		handler := activity.HandlerFunc(func(e activity.Event) { lines = append(lines, e.(activity.Log).Text) })
		valid, err := c.IsValidPath(activity.WithHandler(ctx, handler), helloPath)
		if !valid || err != nil || strings.Join(lines, " ") != "one two" {
			t.Errorf("%v, %v, with the lines %q", valid, err, lines)
		}
		_, err = c.IsValidPath(ctx, helloPath)
		if said, isError := errors.AsType[*activity.Error](err); !isError || said.Message != "disk is full" {
			t.Errorf("%v, want the daemon's error", err)
		}
		stillGood(t, ctx, c)
	})
}

// A cancelled query returns although no answer, or only a part of it, has arrived. The answer
// is not taken for the one of the next query.
func TestInlineCancelled(t *testing.T) {
	for _, part := range []int{0, 3, 8, 15} {
		asked, left := make(chan bool), make(chan bool)
		inlined(t, nil, func(p *peer) {
			p.next()
			b := p.answerBytes(true)
			p.nc.Write(b[:part])
			close(asked)
			<-left
			p.nc.Write(b[part:])
			p.next()
			p.write(p.answerBytes(false), nil)
			p.serve()
		}, func(ctx context.Context, c *daemon.Conn) {
			short, cancel := context.WithCancelCause(ctx)
			go func() {
				<-asked
				cancel(errors.New("no longer needed"))
			}()
			_, err := c.IsValidPath(short, helloPath)
			if !errors.Is(err, context.Canceled) || !errors.Is(err, context.Cause(short)) {
				t.Errorf("after %d bytes: %v, want the context's error and its cause", part, err)
			}
			close(left)
			if valid, err := c.IsValidPath(ctx, helloPath); valid || err != nil {
				t.Errorf("after %d bytes: the next query: %v, %v", part, valid, err)
			}
			stillGood(t, ctx, c)
		})
	}
}

// A cancelled query whose answer never comes breaks the connection.
func TestInlineNeverAnswered(t *testing.T) {
	arrived := make(chan bool)
	inlined(t, &daemon.Options{DrainTimeout: 10 * time.Millisecond}, func(p *peer) {
		p.next()
		close(arrived)
	}, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithCancel(ctx)
		go func() {
			<-arrived
			cancel()
		}()
		if _, err := c.IsValidPath(short, helloPath); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's error", err)
		}
		awaitBreak(c)
		broken(t, ctx, c, nil)
	})
}

// A request that the daemon does not read may be cancelled, and is sent as a whole later.
func TestInlineUnreadRequest(t *testing.T) {
	paths := make([]storepath.Path, 20_000) // more than a megabyte, which no socket can hold
	const digits = "0123456789abcdfghijklmnpqrsvwxyz"
	for i := range paths {
		id := string([]byte{digits[i>>15&31], digits[i>>10&31], digits[i>>5&31], digits[i&31]})
		paths[i] = storepath.Path("/nix/store/" + strings.Repeat(id, 8) + "-x")
	}
	arrived, left := make(chan bool), make(chan bool)
	inlined(t, nil, func(p *peer) {
		p.in.Peek()
		close(arrived)
		<-left
		if req, ok := p.next().(*protocol.QueryValidPathsRequest); !ok || len(req.Paths) != len(paths) {
			p.nc.Close()
			return
		}
		p.answer(protocol.QueryValidPaths, &protocol.PathsReply{})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithCancel(ctx)
		go func() {
			<-arrived
			cancel()
		}()
		if _, err := c.QueryValidPaths(short, paths, false); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's error", err)
		}
		close(left)
		stillGood(t, ctx, c)
	})
}

// A message that arrives between queries breaks the connection, and is not the answer of the
// next query. The same holds for a part of a message.
func TestInlineUnrequested(t *testing.T) {
	for _, part := range []int{1, 8, 16} {
		idle, sent := make(chan bool), make(chan bool)
		inlined(t, &daemon.Options{DrainTimeout: 10 * time.Millisecond}, func(p *peer) {
			<-idle
			p.nc.Write(p.answerBytes(true)[:part])
			close(sent)
		}, func(ctx context.Context, c *daemon.Conn) {
			close(idle)
			<-sent
			if valid, err := c.IsValidPath(ctx, absent); !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("%d unrequested bytes: %v, %v", part, valid, err)
			}
			broken(t, ctx, c, nil)
		})
	}
}

// A hang-up fails the query that is waiting, or else the next call of any kind.
func TestInlineHangUp(t *testing.T) {
	inlined(t, nil, func(p *peer) {
		p.next()
		p.nc.Close()
	}, func(ctx context.Context, c *daemon.Conn) {
		if _, err := c.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrConnLost) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want a lost connection", err)
		}
		broken(t, ctx, c, io.ErrUnexpectedEOF)
	})
	for _, call := range []func(context.Context, *daemon.Conn) error{
		func(ctx context.Context, c *daemon.Conn) error { _, err := c.IsValidPath(ctx, helloPath); return err },
		func(ctx context.Context, c *daemon.Conn) error { return c.AddTempRoot(ctx, helloPath) },
		func(ctx context.Context, c *daemon.Conn) error {
			return readInfos(c.QueryPathInfos(ctx, []storepath.Path{helloPath, absent}), 2)
		},
	} {
		closed := make(chan bool)
		idle := make(chan bool)
		inlined(t, nil, func(p *peer) { <-idle; p.nc.Close(); close(closed) }, func(ctx context.Context, c *daemon.Conn) {
			close(idle)
			<-closed
			if err := call(ctx, c); !errors.Is(err, daemon.ErrConnLost) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, want a lost connection", err)
			}
			broken(t, ctx, c, io.ErrUnexpectedEOF)
		})
	}
}

// A connection without queries notices a hang-up by itself.
func TestInlineHangUpWhileIdle(t *testing.T) {
	u := listening(t, func(p *peer) {
		for range warmUp {
			p.answer(p.next().Op(), &protocol.IsValidPathReply{Valid: true})
		}
	})
	c, err := daemon.DialTransport(t.Context(), u, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range warmUp {
		if _, err := c.IsValidPath(t.Context(), helloPath); err != nil {
			t.Fatal(err)
		}
	}
	awaitBreak(c)
	broken(t, t.Context(), c, io.ErrUnexpectedEOF)
}

// A pool does not use a connection that has just been closed by the daemon for a call that it
// cannot repeat.
func TestInlineHangUpInPool(t *testing.T) {
	closed := make(chan bool, 1)
	var mu sync.Mutex
	conns := 0
	u := listening(t, func(p *peer) {
		mu.Lock()
		conns++
		first := conns == 1
		mu.Unlock()
		if !first {
			p.serveAll()
			return
		}
		for range warmUp {
			p.answer(p.next().Op(), &protocol.IsValidPathReply{Valid: true})
		}
		p.nc.Close()
		closed <- true
	})
	pool, err := daemon.Open(t.Context(), u, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range warmUp {
		if _, err := pool.IsValidPath(t.Context(), helloPath); err != nil {
			t.Fatal(err)
		}
	}
	<-closed
	if _, err := pool.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil {
		t.Errorf("%v", err)
	}
}

// Close ends a query that waits for its answer.
func TestInlineClose(t *testing.T) {
	asked := make(chan bool)
	inlined(t, nil, func(p *peer) { p.next(); close(asked) }, func(ctx context.Context, c *daemon.Conn) {
		go func() {
			<-asked
			c.Close()
		}()
		if _, err := c.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// Each of several callers at the same time gets the answer to its own query. Some of them cancel theirs.
func TestInlineManyCallers(t *testing.T) {
	inlined(t, nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		for _, callers := range []int{1, 2, 8} {
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for n := range 300 {
						ctx, cancel := context.WithCancel(ctx)
						if (n+i)%7 == 0 {
							go cancel()
						}
						path := []storepath.Path{helloPath, absent}[n%2]
						valid, err := c.IsValidPath(ctx, path)
						if err != nil && !errors.Is(err, context.Canceled) || err == nil && valid != isKnown(path) {
							t.Errorf("%d callers: IsValidPath(%s) = %v, %v", callers, path, valid, err)
						}
						cancel()
					}
				})
			}
			all.Wait()
		}
		stillGood(t, ctx, c)
	})
}
