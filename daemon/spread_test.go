package daemon_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// wide adds a root that refers to n texts, which refer to n others, and returns it.
func wide(t *testing.T, s *memstore.Store, n int) storepath.Path {
	t.Helper()
	var below []storepath.Path
	for _, layer := range []string{"low", "high"} {
		var paths []storepath.Path
		for i := range n {
			var refs []storepath.Path
			if below != nil {
				refs = below[i : i+1]
			}
			path, err := s.AddTextToStore(t.Context(), fmt.Sprintf("%s-%d", layer, i), "x", refs)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		slices.Sort(paths)
		below = paths
	}
	root, err := s.AddTextToStore(t.Context(), "root", "x", below)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// The order of a wide closure is the same on several connections as on one, even if connections
// break.
func TestClosureOnSeveralConnections(t *testing.T) {
	s := memstore.New(nil)
	const n = 3000
	root := wide(t, s, n)
	closure := func(infos func(func(*store.PathInfo, error) bool)) (paths []storepath.Path) {
		t.Helper()
		for info, err := range infos {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, info.Path)
		}
		return paths
	}
	d := daemontest.New(t, &daemontest.Options{Store: s})
	c, err := daemon.Dial(t.Context(), d.Socket(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := closure(c.QueryClosure(t.Context(), root))
	if len(want) != 2*n+1 {
		t.Fatalf("%d paths", len(want))
	}
	// A connection that breaks has answered more queries than the window, so that all users of
	// it make progress.
	for name, faults := range map[string]daemontest.Faults{"well": {}, "with connections that break": {CutAfter: 500_000}} {
		t.Run(name, func(t *testing.T) {
			d := daemontest.New(t, &daemontest.Options{Store: s, Faults: faults})
			p, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if got := closure(p.QueryClosure(t.Context(), root)); !slices.Equal(got, want) {
				t.Errorf("%d paths, or another order", len(got))
			}
			for range p.QueryClosure(t.Context(), root) {
				break
			}
			for _, err := range p.QueryClosure(t.Context(), root, absent) {
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
}

// serveWide plays daemons with a wide closure, and returns its root and the transport to them.
// A daemon reports an event before each reply.
func serveWide(t *testing.T, levels, width int) (storepath.Path, daemon.Unix) {
	root, references := graph(levels, width)
	return root, listening(t, func(p *peer) {
		for req, ok := p.next().(*protocol.QueryPathInfoRequest); ok; req, ok = p.next().(*protocol.QueryPathInfoRequest) {
			p.log("looking")
			p.answer(req.Op(), &protocol.QueryPathInfoReply{Info: &store.PathInfo{NARHash: zeroHash, References: references[req.Path]}})
		}
	})
}

// The handler of a closure on several connections runs on the caller's goroutine, so that the
// caller can recover from its panics. A panic of the handler or in the loop leaves nothing
// behind.
func TestPanicInWideClosure(t *testing.T) {
	const levels, width = 4, 300
	root, transport := serveWide(t, levels, width)
	p, err := daemon.Open(t.Context(), transport, &daemon.Options{MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	most := 0
	run := func(panicAt int) (panicked any) {
		defer func() { panicked = recover() }()
		n := 0 // without a lock, so that the race detector reports a second goroutine
		code := func() bool {
			if n++; n == panicAt {
				panic(errBoo)
			}
			return true
		}
		for _, err := range p.QueryClosure(hearing(t.Context(), code), root) {
			if err != nil {
				t.Fatal(err)
			}
			code()
		}
		most = n
		return nil
	}
	if run(0); most != 2*(1+(levels-1)*width) {
		t.Errorf("the caller's code ran %d times", most)
	}
	leavesNothing(t, func() {
		for i := range 6 {
			if panicked := run(1 + i*most/6); panicked != any(errBoo) {
				t.Errorf("%v", panicked)
			}
		}
	})
	run(0)
}
