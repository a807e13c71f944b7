package daemon_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/daemon"
	"pix/internal/latency"
	"pix/store"
	"pix/storepath"
)

// A memory is a transport to fake daemons, one for each connection.
type memory struct {
	serve   func(p *peer, n int) // plays the n-th daemon, from 1 on
	version uint8                // the minor version; 0 means the newest
	delay   time.Duration        // the delay in each direction

	dials, open atomic.Int32
	mu          sync.Mutex
	conns       []net.Conn
	dead        bool // connecting fails
	hangs       bool // new daemons read, but send nothing
}

func (m *memory) String() string { return "memory" }

func (m *memory) Dial(context.Context) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errors.New("no daemon")
	}
	n := int(m.dials.Add(1))
	theirs, ours := net.Pipe()
	m.conns = append(m.conns, theirs)
	m.open.Add(1)
	hangs := m.hangs
	go func() {
		defer m.open.Add(-1)
		if hangs {
			io.Copy(io.Discard, theirs)
			return
		}
		fakeServe(theirs, fakeOp{version: m.version}.daemonVersion(), func(p *peer) {
			if m.serve != nil {
				m.serve(p, n)
				return
			}
			p.serveAll()
		})
	}()
	if m.delay > 0 {
		return latency.Conn(ours, m.delay), nil
	}
	return ours, nil
}

// restart ends all connections, like a restart of the daemon.
func (m *memory) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, nc := range m.conns {
		nc.Close()
	}
	m.conns = nil
}

// hang ends all connections, and makes new daemons hang in the handshake, or answer again.
func (m *memory) hang(hangs bool) {
	m.mu.Lock()
	m.hangs = hangs
	m.mu.Unlock()
	m.restart()
	synctest.Wait()
}

// pooled runs f on a pool of fake daemons in a synctest bubble.
func pooled(t *testing.T, m *memory, opts *daemon.Options, f func(ctx context.Context, p *daemon.Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, err := daemon.Open(t.Context(), m, opts)
		if err != nil {
			t.Fatal(err)
		}
		f(t.Context(), p)
		p.Close()
		time.Sleep(time.Hour) // until the daemons have noticed
		if n := m.open.Load(); n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
		if _, err := p.IsValidPath(t.Context(), helloPath); !errors.Is(err, daemon.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// oneByOne makes calls of all kinds sequentially.
func oneByOne(t *testing.T, ctx context.Context, p *daemon.Pool) {
	t.Helper()
	if valid, err := p.IsValidPath(ctx, helloPath); !valid || err != nil {
		t.Errorf("IsValidPath: %v, %v", valid, err)
	}
	if path, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil); path != helloPath || err != nil {
		t.Errorf("AddTextToStore: %v, %v", path, err)
	}
	if err := readFakeNAR(ctx, p); err != nil {
		t.Errorf("NARFromPath: %v", err)
	}
	if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
		t.Errorf("BuildPaths: %v", err)
	}
	if err := readInfos(p.QueryPathInfos(ctx, []storepath.Path{helloPath, helloPath}), 2); err != nil {
		t.Errorf("QueryPathInfos: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
