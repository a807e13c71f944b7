package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/parallel"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A client is a [daemon.Conn], a [daemon.Pool] or a [daemon.Session].
type client interface {
	IsValidPath(context.Context, storepath.Path) (bool, error)
	QueryPathInfos(context.Context, []storepath.Path) iter.Seq2[*store.PathInfo, error]
	QueryClosure(context.Context, ...storepath.Path) iter.Seq2[*store.PathInfo, error]
	NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error)
	NARsFromPaths(context.Context, []*store.PathInfo) iter.Seq2[io.Reader, error]
	AddToStore(context.Context, string, storepath.Method, nixhash.Algorithm, []storepath.Path, io.Reader, *store.AddOptions) (*store.PathInfo, error)
	AddToStoreNAR(context.Context, *store.PathInfo, io.Reader, *store.AddOptions) error
	AddMultipleToStore(context.Context, int, iter.Seq2[store.Import, error], *store.AddOptions) error
	AddBuildLog(context.Context, storepath.Path, io.Reader) error
	BuildPaths(context.Context, []derivation.DerivedPath, store.BuildMode) error
	QueryMissing(context.Context, []derivation.DerivedPath) (*store.Missing, error)
}

// times is the minimum number of times that each callback runs.
const times = 5

// A callback is a call that runs code of the caller several times.
type callback struct {
	name    string
	version uint8 // the minor version of the daemon; 0 means the newest
	run     func(ctx context.Context, c client, code func() bool) error
}

// readsAll returns a reader that calls code before each Read of r.
func readsAll(r io.Reader, code func() bool) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if !code() {
			return 0, errBoo
		}
		return r.Read(p[:min(len(p), 16)])
	})
}

func hearing(ctx context.Context, code func() bool) context.Context {
	return activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { code() }))
}

// loops are the iterators. code returns false to leave the loop.
var loops = []callback{
	{"QueryPathInfos", 0, func(ctx context.Context, c client, code func() bool) error {
		for _, err := range c.QueryPathInfos(ctx, chain[:]) {
			if err != nil || !code() {
				return err
			}
		}
		return nil
	}},
	{"QueryClosure", 0, func(ctx context.Context, c client, code func() bool) error {
		for _, err := range c.QueryClosure(ctx, chain[0]) {
			if err != nil || !code() {
				return err
			}
		}
		return nil
	}},
	{"NARsFromPaths", 0, func(ctx context.Context, c client, code func() bool) error {
		return loopArchives(ctx, c, func(r io.Reader) bool { io.Copy(io.Discard, r); return code() })
	}},
	{"NARsFromPaths, before reading", 0, func(ctx context.Context, c client, code func() bool) error {
		return loopArchives(ctx, c, func(r io.Reader) bool { ok := code(); io.Copy(io.Discard, r); return ok })
	}},
	{"NARsFromPaths, in the midst of an archive", 0, func(ctx context.Context, c client, code func() bool) error {
		return loopArchives(ctx, c, func(r io.Reader) bool { io.CopyN(io.Discard, r, 30); return code() })
	}},
	{"NARFromPath", 0, func(ctx context.Context, c client, code func() bool) error {
		r, err := c.NARFromPath(ctx, helloPath)
		if err != nil {
			return err
		}
		defer r.Close()
		for err == nil && code() {
			_, err = r.Read(make([]byte, 20))
		}
		if err == io.EOF {
			err = nil
		}
		return err
	}},
}

func loopArchives(ctx context.Context, c client, body func(io.Reader) bool) error {
	infos := make([]*store.PathInfo, times)
	for i := range infos {
		info := fakeInfo
		infos[i] = &info
	}
	for r, err := range c.NARsFromPaths(ctx, infos) {
		if err != nil || !body(r) {
			return err
		}
	}
	return nil
}

// callbacks are the handlers, readers and sequences.
var callbacks = []callback{
	{"a handler of queries", 0, func(ctx context.Context, c client, code func() bool) error {
		for range times {
			if _, err := c.IsValidPath(hearing(ctx, code), helloPath); err != nil {
				return err
			}
		}
		return nil
	}},
	{"a handler of QueryPathInfos", 0, func(ctx context.Context, c client, code func() bool) error {
		return readInfos(c.QueryPathInfos(hearing(ctx, code), slices.Repeat(fakePaths, times)), times)
	}},
	{"a handler of QueryClosure", 0, func(ctx context.Context, c client, code func() bool) error {
		for _, err := range c.QueryClosure(hearing(ctx, code), chain[0]) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"a handler of a build", 0, func(ctx context.Context, c client, code func() bool) error {
		return c.BuildPaths(hearing(ctx, code), fakeBuilt, store.BuildNormal)
	}},
	{"a handler of QueryMissing", 0, func(ctx context.Context, c client, code func() bool) error {
		_, err := c.QueryMissing(hearing(ctx, code), fakeBuilt)
		return err
	}},
	{"a handler of NARFromPath", 0, func(ctx context.Context, c client, code func() bool) error {
		r, err := c.NARFromPath(hearing(ctx, code), helloPath)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		return err
	}},
	{"a handler of NARsFromPaths", 0, func(ctx context.Context, c client, code func() bool) error {
		return loopArchives(hearing(ctx, code), c, func(r io.Reader) bool { io.Copy(io.Discard, r); return true })
	}},
	{"a handler of an upload", 0, func(ctx context.Context, c client, code func() bool) error {
		_, err := c.AddToStore(hearing(ctx, code), "hello.txt", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("hello"), nil)
		return err
	}},
	{"a reader for AddToStore", 0, func(ctx context.Context, c client, code func() bool) error {
		r := readsAll(strings.NewReader(strings.Repeat("x", 100)), code)
		_, err := c.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, r, nil)
		return err
	}},
	{"a reader for AddToStore, old", 20, func(ctx context.Context, c client, code func() bool) error {
		r := readsAll(strings.NewReader(strings.Repeat("x", 100)), code)
		_, err := c.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, r, nil)
		return err
	}},
	{"a reader for AddToStoreNAR", 0, addWatched},
	{"a reader for AddToStoreNAR, asked", 22, addWatched},
	{"a reader for AddToStoreNAR, plain", 20, addWatched},
	{"a reader for AddBuildLog", 0, func(ctx context.Context, c client, code func() bool) error {
		return c.AddBuildLog(ctx, fakeDrv, readsAll(strings.NewReader(strings.Repeat("x", 100)), code))
	}},
	{"a sequence", 0, addSequence},
	{"a sequence, old", 31, addSequence},
	{"a reader of a sequence", 0, addReaders},
	{"a reader of a sequence, old", 31, addReaders},
	{"a reader of a sequence, asked", 22, addReaders},
}

func addWatched(ctx context.Context, c client, code func() bool) error {
	info, nar, err := object("x", "some contents")
	if err != nil {
		return err
	}
	return c.AddToStoreNAR(ctx, info, readsAll(strings.NewReader(string(nar)), code), nil)
}

func addSequence(ctx context.Context, c client, code func() bool) error {
	return c.AddMultipleToStore(ctx, times, func(yield func(store.Import, error) bool) {
		for object, err := range fakeObjects(times) {
			if !code() {
				err = errBoo
			}
			if !yield(object, err) {
				return
			}
		}
	}, nil)
}

func addReaders(ctx context.Context, c client, code func() bool) error {
	return c.AddMultipleToStore(ctx, times, func(yield func(store.Import, error) bool) {
		for object, err := range fakeObjects(times) {
			if object.NAR = readsAll(object.NAR, code); !yield(object, err) {
				return
			}
		}
	}, nil)
}

// chain is a list of paths. Each refers to the next.
var chain [times]storepath.Path

func init() {
	for i := range chain {
		var err error
		name := fmt.Sprint("chain-", i)
		chain[i], err = storepath.DefaultDir.TextPath(name, nixhash.Sum(nixhash.SHA256, []byte(name)), nil)
		if err != nil {
			panic(err)
		}
	}
}

// serveChain plays a daemon that has the chain, and reports several events before each reply.
func serveChain(p *peer, _ int) {
	for req := p.next(); req != nil; req = p.next() {
		for i := range times {
			p.log(fmt.Sprint("step ", i))
			time.Sleep(time.Millisecond)
		}
		if q, ok := req.(*protocol.QueryPathInfoRequest); ok {
			info := fakeInfo
			for i, path := range chain[:times-1] {
				if path == q.Path {
					info.References = []storepath.Path{chain[i+1]}
				}
			}
			p.answer(req.Op(), &protocol.QueryPathInfoReply{Info: &info})
			continue
		}
		if p.do(req) != nil {
			return
		}
	}
}

// endings are the ways in which a callback ends abnormally.
var endings = map[string]func() bool{
	"false":  func() bool { return false },
	"panic":  func() bool { panic(errBoo) },
	"Goexit": func() bool { runtime.Goexit(); return false },
}

// endAt runs a callback that ends abnormally at its n-th run. It returns whether that run was
// reached, and the panic or the result of the call. It fails the test if the call does not end.
func endAt(t *testing.T, ctx context.Context, c client, cb callback, n int, ending func() bool) (reached bool, panicked any, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		i := 0
		err = cb.run(ctx, c, func() bool {
			if i++; i == n {
				reached = true
				return ending()
			}
			return true
		})
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the call does not end")
	}
	return reached, panicked, err
}

// eachEnding calls f for each callback, each ending, and each run.
func eachEnding(t *testing.T, all []callback, f func(t *testing.T, cb callback, ending string, n int) (reached bool)) {
	for _, cb := range all {
		for ending := range endings {
			if ending == "Goexit" && strings.HasSuffix(cb.name, "asked") {
				continue // such a body runs on a goroutine without a caller
			}
			t.Run(cb.name+", "+ending, func(t *testing.T) {
				n := 1
				for f(t, cb, ending, n) && n < 20 && !t.Failed() {
					n++
				}
				if n < 2 {
					t.Error("the caller's code did not run")
				}
			})
		}
	}
}

// judgeEnding fails the test unless the panic reached the caller.
func judgeEnding(t *testing.T, ending string, reached bool, panicked any, err error) {
	t.Helper()
	if elsewhere, ok := panicked.(*parallel.PanicError); ok { // a body runs on another goroutine
		panicked = elsewhere.Value
	}
	if want := reached && ending == "panic"; want != (panicked == any(errBoo)) {
		t.Errorf("the call panicked with %v, or returned %v", panicked, err)
	}
	if !reached && err != nil {
		t.Error(err)
	}
}

// After any ending of a callback, every connection of the pool answers, and no lease is lost.
func TestPoolAfterEnding(t *testing.T) {
	eachEnding(t, append(loops[:len(loops):len(loops)], callbacks...), func(t *testing.T, cb callback, ending string, n int) (reached bool) {
		m := &memory{version: cb.version, serve: serveChain}
		pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
			var panicked any
			var err error
			reached, panicked, err = endAt(t, ctx, p, cb, n, endings[ending])
			judgeEnding(t, ending, reached, panicked, err)
			start := time.Now()
			oneByOne(t, ctx, p)
			if took := time.Since(start); took > time.Second/4 {
				t.Errorf("later calls took %v: a lease was lost", took)
			}
			if n := m.dials.Load(); n > 3 {
				t.Errorf("%d connections were made", n)
			}
		})
		return reached
	})
}

// After any ending of a callback, the connection answers, or reports that it is broken.
func TestConnAfterEnding(t *testing.T) {
	eachEnding(t, append(loops[:len(loops):len(loops)], callbacks...), func(t *testing.T, cb callback, ending string, n int) (reached bool) {
		synctest.Test(t, func(t *testing.T) {
			theirs, ours := net.Pipe()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				fakeServe(theirs, fakeOp{version: cb.version}.daemonVersion(), func(p *peer) { serveChain(p, 1) })
			}()
			c, err := daemon.NewConn(t.Context(), ours, nil)
			if err != nil {
				t.Fatal(err)
			}
			var panicked any
			reached, panicked, err = endAt(t, t.Context(), c, cb, n, endings[ending])
			judgeEnding(t, ending, reached, panicked, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			valid, err := c.IsValidPath(ctx, helloPath)
			if err == nil && (!valid || c.Err() != nil) || err != nil && (c.Err() == nil || !errors.Is(err, daemon.ErrConnLost)) {
				t.Errorf("afterwards: %v, %v; the connection: %v", valid, err, c.Err())
			}
			c.Close()
			<-ended
		})
		return reached
	})
}
