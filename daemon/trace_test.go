package daemon_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// traced returns calls of every kind: all operations, iterators that are left early or not, and
// archives that are read completely or partly.
func traced() []fakeOp {
	type C = *daemon.Conn
	type X = context.Context
	archives := func(n int, body func(io.Reader) bool) func(X, C) error {
		return func(x X, c C) error {
			infos := make([]*store.PathInfo, n)
			for i := range infos {
				info := fakeInfo
				infos[i] = &info
			}
			for r, err := range c.NARsFromPaths(x, infos) {
				if err != nil || !body(r) {
					return err
				}
			}
			return nil
		}
	}
	read := func(n int64) func(io.Reader) bool {
		return func(r io.Reader) bool { io.CopyN(io.Discard, r, n); return true }
	}
	left := func(n int64) func(io.Reader) bool {
		return func(r io.Reader) bool { io.CopyN(io.Discard, r, n); return false }
	}
	one := func(n int64) func(X, C) error {
		return func(x X, c C) error {
			r, err := c.NARFromPath(x, helloPath)
			if err != nil {
				return err
			}
			io.CopyN(io.Discard, r, n)
			return r.Close()
		}
	}
	many := slices.Repeat([]storepath.Path{helloPath}, 30)
	return append(fakeOps(),
		at(0, "NARsFromPaths", archives(5, read(1000))),
		at(0, "NARsFromPaths of one", archives(1, read(1000))),
		at(0, "NARsFromPaths of none", archives(0, read(1000))),
		at(0, "NARsFromPaths, read partly", archives(5, read(40))),
		at(0, "NARsFromPaths, not read", archives(5, read(0))),
		at(0, "NARsFromPaths, left at once", archives(5, left(0))),
		at(0, "NARsFromPaths, left after one", archives(5, left(1000))),
		at(0, "NARsFromPaths, left in the midst", archives(5, left(50))),
		at(0, "NARFromPath, read partly", one(50)),
		at(0, "NARFromPath, not read", one(0)),
		at(0, "QueryPathInfos", func(x X, c C) error { return readInfos(c.QueryPathInfos(x, many), len(many)) }),
		at(0, "QueryPathInfos, left", func(x X, c C) error {
			for range c.QueryPathInfos(x, many) {
				break
			}
			return nil
		}),
		at(0, "archives between questions", func(x X, c C) error {
			for range c.QueryPathInfos(x, many) {
				if err := readFakeNAR(x, c); err != nil {
					return err
				}
			}
			return archives(3, read(1000))(x, c)
		}),
	)
}

// A trace has each request once, in the order of sending. A full trace can be replayed: the
// client sends the same requests and gets the same replies.
func TestTraceOfEverything(t *testing.T) {
	for _, op := range traced() {
		t.Run(op.name, func(t *testing.T) {
			var heard []string // requests that the daemon got, valid after its end
			m := &memory{version: op.version, serve: func(p *peer, _ int) {
				for req := p.next(); req != nil; req = p.next() {
					heard = append(heard, p.params.TraceRequest(req, -1))
					p.log("working")
					if p.do(req) != nil {
						return
					}
				}
			}}
			use := func(transport daemon.Transport) (string, error) {
				var trace strings.Builder
				c, err := daemon.DialTransport(t.Context(), transport, &daemon.Options{Trace: &trace, TraceBody: -1})
				if err != nil {
					t.Fatal(err)
				}
				err = op.call(t.Context(), c)
				for range 2 {
					if valid, err := c.IsValidPath(t.Context(), helloPath); c.Err() == nil && (err != nil || !valid) {
						t.Errorf("afterwards: %v, %v", valid, err)
					}
				}
				c.Close()
				return trace.String(), err
			}
			trace, want := use(m)
			for m.open.Load() > 0 { // until the daemon has read everything
				m.restart()
			}
			asked := requestsIn(trace)
			if n := len(heard); n > len(asked) || !slices.Equal(asked[:n], heard) || n < len(asked) && !strings.Contains(op.name, "left") {
				t.Errorf("the daemon got\n%s\nand the trace has\n%s", strings.Join(heard, "\n"), strings.Join(asked, "\n"))
			}
			again, got := use(daemontest.Replay(t, strings.NewReader(trace), nil))
			if (got == nil) != (want == nil) {
				t.Errorf("replayed: %v, recorded: %v", got, want)
			}
			if asked := requestsIn(again); !slices.Equal(asked, requestsIn(trace)) {
				t.Errorf("replayed, it asked\n%s", strings.Join(asked, "\n"))
			}
		})
	}
}

// requestsIn returns the requests in a trace.
func requestsIn(trace string) (requests []string) {
	for line := range strings.Lines(trace) {
		if _, request, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " → "); ok && !strings.HasPrefix(request, "body ") {
			requests = append(requests, request)
		}
	}
	return requests
}

// A trace of a large archive that was closed long before its end can be replayed, too.
func TestTraceOfAbandoned(t *testing.T) {
	big := fileNAR(string(make([]byte, 3<<20)))
	info := infoOf(big)
	info.Path = helloPath
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() == protocol.QueryPathInfo {
				p.answer(req.Op(), &protocol.QueryPathInfoReply{Info: info})
				continue
			}
			p.answer(req.Op(), &protocol.None{})
			p.write(big, nil)
		}
	}}
	for name, use := range map[string]func(context.Context, *daemon.Conn) error{
		"NARFromPath": func(ctx context.Context, c *daemon.Conn) error {
			r, err := c.NARFromPath(ctx, helloPath)
			if err != nil {
				return err
			}
			_, err = io.CopyN(io.Discard, r, 100_000)
			r.Close()
			return err
		},
		"NARsFromPaths": func(ctx context.Context, c *daemon.Conn) error {
			for r, err := range c.NARsFromPaths(ctx, []*store.PathInfo{info, info, info}) {
				if err == nil {
					_, err = io.CopyN(io.Discard, r, 100_000)
				}
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var trace strings.Builder
			var transport daemon.Transport = m
			for range 2 {
				c, err := daemon.DialTransport(t.Context(), transport, &daemon.Options{Trace: &trace, TraceBody: -1})
				if err != nil {
					t.Fatal(err)
				}
				if err := use(t.Context(), c); err != nil || !errors.Is(c.Err(), daemon.ErrAbandoned) {
					t.Errorf("%v; the connection: %v", err, c.Err())
				}
				c.Close()
				if transport == m {
					transport = daemontest.Replay(t, strings.NewReader(trace.String()), nil)
				}
			}
		})
	}
}

// The trace of a copy of a closure over a pool can be replayed. A copy that reads several
// batches of archives at the same time requests them in an order that depends on timing.
func TestTraceOfCopy(t *testing.T) {
	from := memstore.New(nil)
	root := wide(t, from, 40)
	d := daemontest.New(t, &daemontest.Options{Store: from})
	var trace strings.Builder
	copied := func(transport daemon.Transport, w io.Writer) int {
		p, err := daemon.Open(t.Context(), transport, &daemon.Options{Trace: w, TraceBody: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		to := memstore.New(nil)
		if _, err := store.Copy(t.Context(), to, p, []storepath.Path{root}, &store.CopyOptions{Parallel: 1}); err != nil {
			t.Fatal(err)
		}
		all, err := to.QueryAllValidPaths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	want := copied(d, &trace)
	if got := copied(daemontest.Replay(t, strings.NewReader(trace.String()), nil), io.Discard); got != want {
		t.Errorf("%d paths were copied, and %d in the replay", want, got)
	}
	if n := len(slices.DeleteFunc(requestsIn(trace.String()), func(r string) bool { return !strings.HasPrefix(r, "NarFromPath ") })); n != want {
		t.Errorf("%d archives were requested for %d paths", n, want)
	}
}

// A panic of the trace's writer ends the trace, and has no other effect.
func TestTraceThatPanics(t *testing.T) {
	for n := range 8 {
		written := 0
		trace := writerFunc(func(p []byte) (int, error) {
			if written++; written > n {
				panic(errBoo)
			}
			return len(p), nil
		})
		pooled(t, new(memory), &daemon.Options{Trace: trace}, func(ctx context.Context, p *daemon.Pool) {
			oneByOne(t, ctx, p)
		})
		if written != n+1 {
			t.Errorf("%d lines were written, want %d", written, n+1)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
