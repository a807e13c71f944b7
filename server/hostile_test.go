package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// In a synctest bubble a test fails if a goroutine of the connection remains.

func TestHangUpCancelsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, text, _ := newStore(t)
		var cause error
		c := dial(t, s, &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		}})
		c.send(&protocol.IsValidPathRequest{Path: text})
		synctest.Wait()
		if err := c.hangUp(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if cause == nil || cause.Error() != "the client has hung up" {
			t.Errorf("the work ended with %v", cause)
		}
	})
}

func TestCancelledContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := newStore(t)
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		ours, theirs := net.Pipe()
		served := make(chan error)
		go func() { served <- server.Serve(ctx, theirs, s, nil) }()
		synctest.Wait()
		cancel(why)
		if err := <-served; err != why {
			t.Errorf("%v", err)
		}
		if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection is open: %v", err)
		}
	})
}

func TestStalls(t *testing.T) {
	opts := &server.Options{Trusted: true, HandshakeTimeout: time.Second, StallTimeout: time.Minute, IdleTimeout: time.Hour}
	object, archive := importOf(t, "x")
	for name, c := range map[string]struct {
		stall func(*client)
		after time.Duration
	}{
		"between requests": {func(*client) {}, time.Hour},
		"within a request": {func(c *client) { c.nc.Write(make([]byte, 4)) }, time.Minute},
		"within a string":  {func(c *client) { c.nc.Write(wire.AppendUint64(wire.AppendUint64(nil, 1), 60)) }, time.Minute},
		"within a body": {func(c *client) {
			c.send(&protocol.AddToStoreNarRequest{Info: *object})
			wire.NewFrameWriter(c.nc).Write(archive[:20])
		}, time.Minute},
		"while it should read": {func(c *client) {
			c.send(&protocol.NarFromPathRequest{Path: bigPath}) // more than the buffers hold
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := dial(t, newBigStore(t), opts)
				c.stall(conn)
				start := time.Now()
				err := <-conn.served
				conn.served <- err
				if !errors.Is(err, server.ErrStalled) || time.Since(start) != c.after {
					t.Errorf("%v after %v, want ErrStalled after %v", err, time.Since(start), c.after)
				}
			})
		})
	}
	t.Run("in the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _, _ := newStore(t)
			conn := connect(t, s, opts)
			conn.nc.Write(make([]byte, 3))
			start := time.Now()
			err := <-conn.served
			conn.served <- err
			if !errors.Is(err, server.ErrStalled) || time.Since(start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
}

var bigText = strings.Repeat("x", 2<<20)

var bigPath, _ = storepath.DefaultDir.TextPath("big", nixhash.Sum(nixhash.SHA256, []byte(bigText)), nil)

func newBigStore(t *testing.T) *memstore.Store {
	s := memstore.New(nil)
	if _, err := s.AddTextToStore(t.Context(), "big", bigText, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// A client may send its whole upload before it reads anything. A store that reports many events
// must not wait for it.
func TestLogFloodDuringUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lines, size = 64, 100 << 10
		c := dial(t, memstore.New(nil), &server.Options{Trusted: true, Before: func(ctx context.Context, _ protocol.Request) error {
			for range lines {
				activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: strings.Repeat("x", size)})
			}
			return nil
		}})
		object, archive := importOf(t, "x")
		for range 2 {
			c.send(&protocol.AddToStoreNarRequest{Info: *object, DontCheckSigs: true, Repair: true})
			frames := wire.NewFrameWriter(c.nc)
			frames.Write(archive)
			frames.Close()
			synctest.Wait() // the store has reported everything and has finished
			if err := c.messages(); err != nil {
				t.Fatal(err)
			}
			heard := len(c.events) - 1
			last := c.events[heard].(activity.Log).Text
			if want := fmt.Sprintf("%d messages were dropped", lines-heard); heard == 0 || !strings.Contains(last, want) {
				t.Errorf("got %d lines, and %.100q; want %q", heard, last, want)
			}
		}
	})
}

// Without an upload, a store that reports faster than the client reads must wait, and nothing
// is lost.
func TestLogFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lines, size = 64, 100 << 10
		said := 0
		s, text, _ := newStore(t)
		c := dial(t, s, &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
			for range lines {
				activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: strings.Repeat("x", size)})
				said++
			}
			return nil
		}})
		c.send(&protocol.IsValidPathRequest{Path: text})
		synctest.Wait()
		if said == 0 || said > 20 {
			t.Errorf("the store has reported %d lines to a client that does not read", said)
		}
		if err := c.messages(); err != nil || len(c.events) != lines {
			t.Errorf("got %d lines, %v", len(c.events), err)
		}
	})
}

// A client that sends requests without reading the replies uses only little memory.
func TestFloodOfRequests(t *testing.T) {
	s := newBigStore(t)
	c := dial(t, s, trusted)
	p, err := c.params.AppendRequest(nil, &protocol.NarFromPathRequest{Path: bigPath})
	if err != nil {
		t.Fatal(err)
	}
	c.nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	n, err := c.nc.Write(bytes.Repeat(p, 10_000))
	if err == nil {
		t.Errorf("%d bytes of requests were read from a client that reads no replies", n)
	}
	c.hangUp()
}

func TestMaxRequest(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, &server.Options{MaxRequest: 10_000})
	for range 1000 { // each request is small
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
	}
	// Contents do not count.
	must[*protocol.AddToStoreReply](c, &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256}, make([]byte, 100_000))
	go c.nc.Write(wire.AppendStrings(wire.AppendUint64(nil, uint64(protocol.QueryValidPaths)), slices.Repeat([]storepath.Path{text}, 1000)))
	c.refused("the request is too large")
}

func TestFullStore(t *testing.T) {
	s := memstore.New(&memstore.Options{MaxSize: 1000})
	c := dial(t, s, trusted)
	for range 2 {
		_, err := c.ask(&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256}, make([]byte, 1<<20))
		if err == nil || err.Error() != memstore.ErrFull.Error() {
			t.Errorf("%v", err)
		}
	}
}

// recording returns the bytes that a client sends when it calls all operations.
func recording(t testing.TB, opts *server.Options) []byte {
	t.Helper()
	w := newWorld(t)
	hello := wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion))
	params := protocol.Params{Version: opts.Version, Dir: storepath.DefaultDir}
	if params.Version == protocol.MaxVersion {
		params.Features = protocol.AllFeatures
		hello = wire.AppendStrings(hello, params.Features.Names())
	}
	b := append(hello, make([]byte, 16)...)
	for _, q := range w.questions(t, params) {
		next, err := params.AppendRequest(b, q.req)
		if err != nil {
			continue
		}
		b = appendBody(next, params, q)
	}
	return b
}

// appendBody appends the body of a request, or the beginning of it.
func appendBody(b []byte, p protocol.Params, q question) []byte {
	row, _ := protocol.Lookup(q.req.Op())
	switch body := q.body[:min(len(q.body), 1500)]; row.Body(p) {
	case protocol.FramedBody:
		b = append(wire.AppendUint64(b, uint64(len(body))), body...)
		b = wire.AppendUint64(b, 0)
	case protocol.NARBody:
		b = append(b, body...)
	case protocol.AskedBody:
		if !strings.Contains(q.fails, "lacks a signature") {
			b = wire.AppendString(b, body)
		}
	}
	return b
}

// A tape is a connection of a client that has sent everything and hung up without waiting for
// the replies.
type tape struct {
	*bytes.Reader
	said int
}

func (t *tape) Write(p []byte) (int, error)    { t.said += len(p); return len(p), nil }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return nil }
func (*tape) RemoteAddr() net.Addr             { return nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// replay serves a client that has sent these bytes. It returns the number of bytes that the
// server has sent, and the result of Serve.
func replay(sent []byte, opts *server.Options) (said int, err error) {
	t := &tape{Reader: bytes.NewReader(sent)}
	err = server.Serve(context.Background(), t, memstore.New(&memstore.Options{MaxSize: 1 << 20}), opts)
	return t.said, err
}

func TestRecordingIsUnderstood(t *testing.T) {
	for _, version := range []protocol.Version{protocol.MakeVersion(21), protocol.MaxVersion} {
		opts := &server.Options{Trusted: true, Version: version}
		if said, err := replay(recording(t, opts), opts); said < 1000 || err != nil {
			t.Errorf("%s: the server sent %d bytes, %v", version, said, err)
		}
	}
}

// chaosStep returns 1 with PIX_CHAOS=full, which tries everything, otherwise n. n should have
// no common factor with 8.
func chaosStep(n int) int {
	if os.Getenv("PIX_CHAOS") == "full" {
		return 1
	}
	return n
}

// Serve returns wherever a connection is cut off.
func TestTruncatedEverywhere(t *testing.T) {
	for _, version := range []protocol.Version{protocol.MakeVersion(21), protocol.MaxVersion} {
		opts := &server.Options{Trusted: true, Version: version}
		b := recording(t, opts)
		for n := 0; n < len(b); n += chaosStep(5) {
			replay(b[:n], opts)
		}
	}
}

// limits returns the limits of the protocol and the numbers next to them.
func limits() (all []uint64) {
	for _, n := range []uint64{protocol.MaxString, protocol.MaxPath, protocol.MaxList, 64 << 20, 4 << 10, 1 << 32, 1 << 63} {
		all = append(all, n-1, n, n+1)
	}
	return append(all, 1<<64-1)
}

// A wrong number anywhere makes the server neither hang nor allocate memory for bytes that are
// never sent.
func TestAbsurdNumbersEverywhere(t *testing.T) {
	var before, after runtime.MemStats
	for _, version := range []protocol.Version{protocol.MakeVersion(21), protocol.MaxVersion} {
		opts := &server.Options{Trusted: true, Version: version}
		b := recording(t, opts)
		for n := 0; n+8 <= len(b); n += 8 * chaosStep(5) {
			runtime.ReadMemStats(&before)
			lies := []uint64{1 << 62, 1 << 31, 1 << 24}
			if more := limits(); n%(8*len(more)) == 0 || chaosStep(5) == 1 {
				lies = append(lies, more...)
			}
			for _, lie := range lies {
				said := bytes.Clone(b)
				binary.LittleEndian.PutUint64(said[n:], lie)
				replay(said, opts)
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(len(lies))*7<<20 {
				t.Errorf("%s: wrong numbers at offset %d made the server allocate %d bytes", version, n, grown)
			}
		}
	}
}

func TestNoClient(t *testing.T) {
	s, _, _ := newStore(t)
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\x00", 100)} {
		c := connect(t, s, nil)
		go io.Copy(io.Discard, c.nc)
		c.nc.Write([]byte(said))
		err := c.hangUp()
		var mismatch *protocol.MismatchError
		if said != "" && !errors.As(err, &mismatch) || said == "" && err != nil {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func FuzzServe(f *testing.F) {
	for _, version := range []protocol.Version{protocol.MakeVersion(21), protocol.MakeVersion(30), protocol.MaxVersion} {
		f.Add(recording(f, &server.Options{Trusted: true, Version: version}), uint8(version.Minor()), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, minor uint8, trust bool) {
		replay(sent, &server.Options{Trusted: trust, Version: protocol.MakeVersion(18 + minor%21)})
	})
}
