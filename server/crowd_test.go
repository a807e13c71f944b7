package server_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/storepath"
	"pix/wire"
)

// A gauge watches how much memory is used, over what was used when it began.
type gauge struct {
	before, peak uint64
	done         chan struct{}
	ended        sync.WaitGroup
}

func used() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func newGauge() *gauge {
	runtime.GC()
	g := &gauge{before: used(), done: make(chan struct{})}
	g.ended.Go(func() {
		for {
			select {
			case <-g.done:
				return
			case <-time.After(5 * time.Millisecond):
				g.peak = max(g.peak, used())
			}
		}
	})
	return g
}

// megabytes returns what was used at most.
func (g *gauge) megabytes() int {
	close(g.done)
	g.ended.Wait()
	return int(max(g.peak, g.before)-g.before) >> 20
}

// lies are what hostile clients send after the handshake: first that, then zeros or other
// bytes for as long as they are taken.
func lies() map[string][]byte {
	op := func(o protocol.Op) []byte { return wire.AppendUint64(nil, uint64(o)) }
	number := func(b []byte, n uint64) []byte { return wire.AppendUint64(b, n) }
	setOptions := op(protocol.SetOptions)
	for range 12 {
		setOptions = number(setOptions, 0)
	}
	return map[string][]byte{
		"an endless string":      number(op(protocol.IsValidPath), 1<<62),
		"a string of the limit":  number(op(protocol.IsValidPath), 64<<10),
		"an endless list":        number(op(protocol.QueryValidPaths), 1<<62),
		"a list of the limit":    number(op(protocol.QueryValidPaths), 1<<26),
		"a long text":            number(wire.AppendString(op(protocol.AddTextToStore), "name"), 60<<20),
		"a map of nothing":       number(setOptions, 1<<26),
		"signatures of nothing":  number(wire.AppendString(op(protocol.AddSignatures), absent), 1<<26),
		"an endless frame":       number(addFlat(), 1<<32-1),
		"a build of everything":  number(op(protocol.BuildPaths), 1<<26),
		"an unfinished archive":  append(number(addFlat(), 1000), make([]byte, 100)...),
		"an endless environment": number(wire.AppendString(op(protocol.BuildDerivation), string(absent)+".drv"), 1<<26),
	}
}

// addFlat is a request to add a file.
func addFlat() []byte {
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	b, err := p.AppendRequest(nil, &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
	if err != nil {
		panic(err)
	}
	return b
}

// 64 clients that lie about lengths, and send as much as is taken from them, at once.
func TestCrowdOfLiars(t *testing.T) {
	const clients, most = 64, 200 // MB
	for name, lie := range lies() {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, &server.Server{MaxClientsPerUser: clients})
			g := newGauge()
			zeros := make([]byte, 64<<10)
			var crowd sync.WaitGroup
			var sent atomic.Int64
			for range clients {
				c := h.mustDial()
				crowd.Go(func() {
					defer c.nc.Close()
					c.nc.SetDeadline(time.Now().Add(2 * time.Second))
					go io.Copy(io.Discard, c.nc)
					n, _ := io.Copy(c.nc, io.MultiReader(bytes.NewReader(lie), io.LimitReader(endless{zeros}, 4<<20)))
					sent.Add(n)
				})
			}
			crowd.Wait()
			if mb := g.megabytes(); mb > most {
				t.Errorf("%d clients took %d MB, at most %d are allowed; they sent %d MB", clients, mb, most, sent.Load()>>20)
			} else {
				t.Logf("%d MB; they sent %d MB", mb, sent.Load()>>20)
			}
			// Who is honest is served all the while, and afterwards.
			if _, err := h.mustDial().ask(&protocol.IsValidPathRequest{Path: absent}, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// endless reads the same bytes for ever.
type endless struct{ b []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.b), nil }

// Connections that nobody uses take little memory.
func TestIdleCrowd(t *testing.T) {
	const clients, most = 1000, 100 // MB, for ours and theirs
	h := startHost(t, &server.Server{Options: trusted})
	g := newGauge()
	for i := range clients {
		nc, err := net.Dial("unix", h.socket)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		t.Cleanup(func() { nc.Close() })
		c := &client{t: t, nc: nc, in: wire.NewReader(nc, 512)}
		if c.params, _, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err != nil {
			t.Fatal(err)
		}
		if err := c.messages(); err != nil {
			t.Fatal(err)
		}
		must[*protocol.PathsReply](c, &protocol.QueryAllValidPathsRequest{}, nil)
	}
	runtime.GC()
	if mb := g.megabytes(); mb > most {
		t.Errorf("%d connections take %d MB, at most %d are allowed", clients, mb, most)
	} else {
		t.Logf("%d connections take %d MB", clients, mb)
	}
}
