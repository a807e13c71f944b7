package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/iotest"

	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

var errBoo = errors.New("boo")

// If a body cannot be read, the call returns the caller's error. The connection is broken,
// unless the daemon asks for each piece.
func TestBodyFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		version protocol.Version
		good    bool
		call    func(context.Context, *daemon.Conn) error
	}{
		{"frames", newest, false, func(ctx context.Context, c *daemon.Conn) error {
			_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, iotest.ErrReader(errBoo), nil)
			return err
		}},
		{"frames, later", newest, false, func(ctx context.Context, c *daemon.Conn) error {
			return addBroken(ctx, c)
		}},
		{"asked", protocol.MakeVersion(22), true, addBroken},
		{"plain", protocol.MakeVersion(20), false, addBroken},
		{"a sequence", newest, false, func(ctx context.Context, c *daemon.Conn) error {
			return c.AddMultipleToStore(ctx, 2, failing(errBoo), nil)
		}},
		{"a sequence, old", protocol.MakeVersion(31), true, func(ctx context.Context, c *daemon.Conn) error {
			return c.AddMultipleToStore(ctx, 2, failing(errBoo), nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.version, nil, (*peer).serveBodies, func(ctx context.Context, conn *daemon.Conn) {
				if err := c.call(ctx, conn); !errors.Is(err, errBoo) {
					t.Errorf("%v, want boo", err)
				}
				if !c.good {
					broken(t, ctx, conn, errBoo)
					return
				}
				stillGood(t, ctx, conn)
				conn.Close()
				if conn.Err() != daemon.ErrClosed {
					t.Errorf("the connection is broken because of %v", conn.Err())
				}
			})
		})
	}
}

// serveBodies answers all operations. A truncated body is an error of the daemon.
func (p *peer) serveBodies() {
	for {
		req, err := p.params.ReadRequest(p.in)
		if err != nil {
			return
		}
		row, _ := protocol.Lookup(req.Op())
		var contents bytes.Buffer
		if err := p.readBody(row.Body(p.params), &contents); err != nil {
			p.fail("unexpected end-of-file")
			continue
		}
		p.answer(req.Op(), fakeAdded(req, contents.Bytes()))
	}
}

func addBroken(ctx context.Context, c *daemon.Conn) error {
	info, nar, err := object("x", strings.Repeat("contents", 100))
	if err != nil {
		return err
	}
	return c.AddToStoreNAR(ctx, info, io.MultiReader(bytes.NewReader(nar[:200]), iotest.ErrReader(errBoo)), nil)
}

// failing yields one object and an error.
func failing(err error) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for object, objectErr := range fakeObjects(1) {
			if !yield(object, objectErr) {
				return
			}
		}
		yield(store.Import{}, err)
	}
}

// An archive is sent up to its size. Further bytes are not sent. Missing bytes are an error.
func TestArchiveHasItsSize(t *testing.T) {
	for _, version := range []protocol.Version{newest, protocol.MakeVersion(31), protocol.MakeVersion(22), protocol.MakeVersion(20)} {
		play(t, version, nil, (*peer).serveAll, func(ctx context.Context, c *daemon.Conn) {
			info, nar, err := object("x", "contents")
			if err != nil {
				t.Fatal(err)
			}
			more := append(bytes.Clone(nar), "more of the stream"...)
			if err := c.AddToStoreNAR(ctx, info, bytes.NewReader(more), nil); err != nil {
				t.Errorf("%s: %v", version, err)
			}
			stillGood(t, ctx, c)
			if err := c.AddToStoreNAR(ctx, info, bytes.NewReader(nar[:len(nar)-1]), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: a short archive: %v", version, err)
			}
		})
	}
}

// The number of objects must be the announced one.
func TestNumberOfObjects(t *testing.T) {
	for _, version := range []protocol.Version{newest, protocol.MakeVersion(31)} {
		for n, want := range map[int]string{0: "more objects", 1: "more objects", 3: "1 objects are missing"} {
			play(t, version, nil, (*peer).serveAll, func(ctx context.Context, c *daemon.Conn) {
				err := c.AddMultipleToStore(ctx, n, fakeObjects(2), nil)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%d: %v, want %q", n, err, want)
				}
			})
		}
	}
	play(t, newest, nil, (*peer).serveAll, func(ctx context.Context, c *daemon.Conn) {
		if err := c.AddMultipleToStore(ctx, 0, fakeObjects(0), nil); err != nil {
			t.Error(err)
		}
		stillGood(t, ctx, c)
	})
}

// A request that needs more trust, or that the daemon does not support, is not sent.
func TestNotSent(t *testing.T) {
	play(t, protocol.MakeVersion(21), nil, (*peer).serveAll, func(ctx context.Context, c *daemon.Conn) {
		for name, call := range map[string]func() error{
			"AddPermRoot": func() error { _, err := c.AddPermRoot(ctx, helloPath, "/link"); return err },
			"AddBuildLog": func() error { return c.AddBuildLog(ctx, fakeDrv, strings.NewReader("x")) },
			"AddToStore, text": func() error {
				_, err := c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, fakePaths, strings.NewReader("x"), nil)
				return err
			},
			"QueryRealisation": func() error { _, err := c.QueryRealisation(ctx, fakeOutput); return err },
		} {
			if err := call(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
		stillGood(t, ctx, c)
	})
}

// A daemon that asks for bytes twice without waiting, or of a call without a body, breaks the
// connection.
func TestAskedTwice(t *testing.T) {
	play(t, protocol.MakeVersion(22), nil, func(p *peer) {
		p.next()
		// The client answers a demand at once if it can, and then the daemon may ask again. It cannot answer so many in
		// the time in which it reads them.
		demand, err := p.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageRead, Want: 0})
		if err != nil {
			t.Error(err)
		}
		go p.nc.Write(bytes.Repeat(demand, 500)) // fails when the client hangs up
		io.Copy(io.Discard, p.nc)
	}, func(ctx context.Context, c *daemon.Conn) {
		if err := addFakeNAR(ctx, c); err == nil {
			t.Error("no error")
		}
	})
}

// An upload is sent in few large frames, and each frame in one write.
func TestFrames(t *testing.T) {
	const size = 1 << 20
	play(t, newest, nil, func(p *peer) {
		req := p.next()
		frames := 0
		for {
			n, err := p.in.Uint64()
			if err != nil || n == 0 {
				break
			}
			frames++
			p.in.Discard(n)
		}
		if frames > size>>16 {
			t.Errorf("%d frames", frames)
		}
		p.answer(req.Op(), fakeAdded(req, bytes.Repeat([]byte("x"), size)))
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		small := iotest.HalfReader(strings.NewReader(strings.Repeat("x", size)))
		if _, err := c.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, small, nil); err != nil {
			t.Error(err)
		}
		stillGood(t, ctx, c)
	})
}

// A refusal before work is not the result of a build. The call returns the daemon's error.
func TestResultsRefused(t *testing.T) {
	play(t, protocol.MakeVersion(33), nil, func(p *peer) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() == protocol.BuildPaths {
				p.fail("not privileged")
				p.fail("not privileged")
				return
			}
			p.answer(req.Op(), fakeReply(req))
		}
	}, func(ctx context.Context, c *daemon.Conn) {
		results, err := c.BuildPathsWithResults(ctx, fakeBuilt, store.BuildRepair)
		if !isDaemonError(err) || results != nil {
			t.Errorf("%v, %v, want the daemon's error", results, err)
		}
	})
}
