package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A realRefusal is an upload that a daemon refuses to an untrusted user.
type realRefusal struct {
	name   string
	unread bool // Nix refuses it before it creates the reader of the frames
	in     func(*daemon.Conn) bool
	call   func(ctx context.Context, c *daemon.Conn, contents []byte) error
}

var realRefusals = []realRefusal{
	{"git without the experimental feature", true, func(c *daemon.Conn) bool { return c.Version() >= newest },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			_, err := c.AddToStore(ctx, "x", storepath.Git, nixhash.SHA1, nil, bytes.NewReader(contents), nil)
			return err
		}},
	{"blake3 without the experimental feature", true, func(c *daemon.Conn) bool { return strings.HasPrefix(c.NixVersion(), "2.34.") },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.BLAKE3, nil, bytes.NewReader(contents), nil)
			return err
		}},
	{"a log", true, func(c *daemon.Conn) bool { return c.Version() == protocol.MakeVersion(34) },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			return c.AddBuildLog(ctx, fakeDrv, bytes.NewReader(contents))
		}},
	{"an unsigned archive", false, func(*daemon.Conn) bool { return true },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			info, nar := unsigned(string(contents))
			return c.AddToStoreNAR(ctx, info, bytes.NewReader(nar), nil)
		}},
	{"unsigned archives", false, func(c *daemon.Conn) bool { return c.Version() >= protocol.MakeVersion(32) },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			info, nar := unsigned(string(contents))
			return c.AddMultipleToStore(ctx, 1, func(yield func(store.Import, error) bool) {
				yield(store.Import{Info: info, NAR: bytes.NewReader(nar)}, nil)
			}, nil)
		}},
	{"an archive that is none", false, func(c *daemon.Conn) bool { return c.Version() >= protocol.MakeVersion(25) },
		func(ctx context.Context, c *daemon.Conn, contents []byte) error {
			_, err := c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(contents), nil)
			return err
		}},
}

// unsigned returns an input-addressed object without a signature.
func unsigned(contents string) (*store.PathInfo, []byte) {
	nar := fileNAR(contents)
	return &store.PathInfo{Path: absent, NARHash: nixhash.Sum(nixhash.SHA256, nar), NARSize: uint64(len(nar))}, nar
}

// realSizes returns the sizes of contents that a real daemon refuses.
func realSizes() []int {
	sizes := []int{0, 1, 2, 3}
	for n := 6; n <= 47; n++ {
		sizes = append(sizes, n)
	}
	return append(sizes, 1000, 1001, 1<<16, 1<<16+257)
}

// startUntrusting starts a daemon that trusts no user and has one path.
func startUntrusting(t *testing.T, s realnix.Suite) *realnix.Daemon {
	d := realnix.Start(t, s, &realnix.Options{Untrusted: true})
	if _, err := dialReal(t, d).AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// A real daemon runs no operation that is encoded in the contents of a refused upload. The next
// call on the connection gets its own answer, or the connection is lost.
func TestRealRefusedUploads(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := startUntrusting(t, s)
		var trace bytes.Buffer
		dial := func() *daemon.Conn {
			trace.Reset()
			c, err := daemon.Dial(t.Context(), d.Socket, &daemon.Options{Trace: &trace})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c, tried := dial(), 0
		for _, kind := range realRefusals {
			for i, size := range realSizes() {
				if c.Err() != nil {
					c.Close()
					c = dial()
				}
				if !kind.in(c) {
					break
				}
				tried++
				if err := kind.call(t.Context(), c, spelled(size, uint64(i)%50+1)); !isDaemonError(err) {
					t.Errorf("%s, %d bytes: %v", kind.name, size, err)
				}
				valid, err := c.IsValidPath(t.Context(), absent)
				if lost := errors.Is(err, daemon.ErrConnLost); valid || err != nil && !lost || lost && strings.Contains(err.Error(), "invalid operation") {
					t.Errorf("%s, %d bytes: then IsValidPath returns %v, %v", kind.name, size, valid, err)
				}
				if good := c.Err() == nil; good == kind.unread {
					t.Errorf("%s, %d bytes: the connection's error is %v", kind.name, size, c.Err())
				}
				if kind.unread && didSomething(trace.String()) {
					t.Errorf("%s, %d bytes: the daemon did something:\n%s", kind.name, size, trace.String())
				}
			}
		}
		c.Close()
		t.Logf("%d uploads", tried)
		if paths, err := dialReal(t, d).QueryAllValidPaths(t.Context()); err != nil || len(paths) != 1 {
			t.Errorf("%v are valid, %v", paths, err)
		}
	})
}

// didSomething reports whether a trace shows work of the daemon.
func didSomething(trace string) bool {
	return strings.Contains(trace, "← Log") || strings.Contains(trace, "← StartActivity")
}

// A counter counts connections.
type counter struct {
	daemon.Transport
	dials atomic.Int32
}

func (c *counter) Dial(ctx context.Context) (net.Conn, error) {
	c.dials.Add(1)
	return c.Transport.Dial(ctx)
}

// A thousand ordinary refusals use one connection.
func TestRealRefusalsKeepConnection(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := startUntrusting(t, s)
		transport := &counter{Transport: daemon.Unix{Path: d.Socket}}
		p, err := daemon.Open(t.Context(), transport, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		start := time.Now()
		for i := range 1000 {
			info, nar := unsigned(strings.Repeat("x", i))
			if err := p.AddToStoreNAR(t.Context(), info, bytes.NewReader(nar), nil); !isDaemonError(err) {
				t.Fatalf("upload %d: %v", i, err)
			}
		}
		t.Logf("%v", time.Since(start))
		if n := transport.dials.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// realCalls are calls whose results do not change while uploads are refused.
var realCalls = []func(context.Context, *daemon.Conn) (any, error){
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.IsValidPath(ctx, helloPath) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.IsValidPath(ctx, absent) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.QueryPathInfo(ctx, helloPath) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.QueryPathInfo(ctx, absent) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.QueryReferrers(ctx, helloPath) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.QueryDeriver(ctx, absent) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return c.QueryAllValidPaths(ctx) },
	func(ctx context.Context, c *daemon.Conn) (any, error) {
		return c.QueryPathFromHashPart(ctx, helloPath.HashPart())
	},
	func(ctx context.Context, c *daemon.Conn) (any, error) {
		return c.QueryValidPaths(ctx, []storepath.Path{absent, helloPath}, false)
	},
	func(ctx context.Context, c *daemon.Conn) (any, error) { return nil, c.AddTempRoot(ctx, helloPath) },
	func(ctx context.Context, c *daemon.Conn) (any, error) { return nil, c.EnsurePath(ctx, helloPath) },
	func(ctx context.Context, c *daemon.Conn) (any, error) {
		return c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	},
}

// Calls on a connection with refused uploads in between return the same results as on a
// connection without: 1,000 random sequences, 10,000 with PIX_LONG=1.
func TestRealSequences(t *testing.T) {
	sequences := 1000
	if os.Getenv("PIX_LONG") != "" {
		sequences = 10_000
	}
	sizes := realSizes()
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := startUntrusting(t, s)
		random := rand.New(rand.NewPCG(1, d.Protocol))
		dial := func() *daemon.Conn {
			c, err := daemon.Dial(t.Context(), d.Socket, nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		var kinds []realRefusal
		c := dial()
		for _, kind := range realRefusals {
			if kind.in(c) {
				kinds = append(kinds, kind)
			}
		}
		lost := 0
		fresh := dial() // a connection without refused uploads
		defer fresh.Close()
		for i := range sequences / 4 {
			for range 1 + random.IntN(4) {
				if c.Err() != nil {
					lost++
					c.Close()
					c = dial()
				}
				kind, size := kinds[random.IntN(len(kinds))], sizes[random.IntN(len(sizes))]
				if err := kind.call(t.Context(), c, spelled(size, random.Uint64N(50)+1)); !isDaemonError(err) {
					t.Errorf("sequence %d: %s, %d bytes: %v", i, kind.name, size, err)
				}
				for range random.IntN(3) {
					n := random.IntN(len(realCalls))
					got, err := realCalls[n](t.Context(), c)
					if errors.Is(err, daemon.ErrConnLost) {
						break
					}
					want, wantErr := realCalls[n](t.Context(), fresh)
					if g, w := answerText(got, err), answerText(want, wantErr); g != w {
						t.Fatalf("sequence %d: call %d after %s of %d bytes: %s\non another connection: %s", i, n, kind.name, size, g, w)
					}
				}
			}
		}
		c.Close()
		t.Logf("%d sequences, %d connections were lost", sequences/4, lost)
	})
}

func answerText(answer any, err error) string {
	if info, ok := answer.(*store.PathInfo); ok && info != nil {
		answer = *info
	}
	return fmt.Sprintf("%+v, %v", answer, err)
}
