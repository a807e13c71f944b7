package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A rawClient is a client of the protocol with as little overhead as possible.
type rawClient struct {
	t      testing.TB
	nc     net.Conn
	in     *wire.Reader
	params protocol.Params
}

func dialRaw(t testing.TB, socket string) *rawClient {
	t.Helper()
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := &rawClient{t: t, nc: nc, in: wire.NewReader(nc, 64<<10)}
	if c.params, _, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err != nil {
		t.Fatal(err)
	}
	c.readMessages()
	return c
}

// readMessages reads messages up to the last one of a call.
func (c *rawClient) readMessages() {
	for {
		m, err := c.params.ReadMessage(c.in)
		if err != nil {
			c.t.Error(err)
			panic(err)
		}
		if m.Kind == protocol.MessageError {
			panic(m.Err)
		}
		if m.Kind == protocol.MessageLast {
			return
		}
	}
}

// call sends a request with a framed body, and returns the reply.
func (c *rawClient) call(req protocol.Request, body []byte) protocol.Reply {
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		panic(err)
	}
	if body != nil { // frames
		for len(body) > 0 {
			n := min(len(body), 64<<10)
			p = append(wire.AppendUint64(p, uint64(n)), body[:n]...)
			body = body[n:]
		}
		p = wire.AppendUint64(p, 0)
	}
	if _, err := c.nc.Write(p); err != nil {
		panic(err)
	}
	c.readMessages()
	reply := protocol.NewReply(req.Op())
	if err := c.params.ReadReply(c.in, req.Op(), reply); err != nil {
		panic(err)
	}
	return reply
}

func (c *rawClient) addText(name, text string, refs ...storepath.Path) storepath.Path {
	return c.call(&protocol.AddToStoreRequest{Name: name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: refs}, []byte(text)).(*protocol.AddToStoreReply).Info.Path
}

// TestDaemonSpeed compares the speed of pix daemon and Nix's daemon with the same client, in turn.
func TestDaemonSpeed(t *testing.T) {
	if os.Getenv("PIX_LONG") == "" {
		t.Skip("takes long; set PIX_LONG=1 to run it")
	}
	nix := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"fsync-metadata": "true"}})
	pix := startPix(t, nil)
	sockets := []string{nix.Socket, pix.Socket}
	var paths []storepath.Path
	for _, socket := range sockets {
		c := dialRaw(t, socket)
		paths = nil
		for i := range 1000 {
			paths = append(paths, c.addText(fmt.Sprint("p", i), fmt.Sprint("text ", i), paths[max(0, i-5):]...))
		}
	}
	race := func(name string, run func(socket string, round int)) {
		took := make([][]time.Duration, len(sockets))
		for round := range 5 {
			for i, socket := range sockets {
				start := time.Now()
				run(socket, round)
				took[i] = append(took[i], time.Since(start))
			}
		}
		for i := range took {
			slices.Sort(took[i])
		}
		t.Logf("%s: nix %v, pix %v: %.2f×", name, took[0][2], took[1][2], float64(took[0][2])/float64(took[1][2]))
	}
	conns := make(map[string][]*rawClient)
	for _, socket := range sockets {
		for range 16 {
			conns[socket] = append(conns[socket], dialRaw(t, socket))
		}
	}
	infos := func(c *rawClient) {
		for _, p := range paths {
			c.call(&protocol.QueryPathInfoRequest{Path: p}, nil)
		}
	}
	race("path infos, 1 client", func(socket string, _ int) {
		for range 3 {
			infos(conns[socket][0])
		}
	})
	race("path infos, 16 clients", func(socket string, _ int) {
		var wg sync.WaitGroup
		for _, c := range conns[socket] {
			wg.Go(func() { infos(c) })
		}
		wg.Wait()
	})
	pools := make(map[string]*daemon.Pool)
	for _, socket := range sockets {
		pool, err := daemon.Open(t.Context(), daemon.Unix{Path: socket}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		pools[socket] = pool
	}
	race("path infos, 16 goroutines with one pool of connections", func(socket string, _ int) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for _, p := range paths {
					if _, err := pools[socket].QueryPathInfo(t.Context(), p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	race("small texts", func(socket string, round int) {
		for i := range 300 {
			conns[socket][0].addText(fmt.Sprint("small-", round, "-", i), fmt.Sprint("small ", round, i))
		}
	})
	race("new connections", func(socket string, _ int) {
		for range 50 {
			nc, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			c := &rawClient{t: t, nc: nc, in: wire.NewReader(nc, 4096)}
			if c.params, _, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err != nil {
				t.Fatal(err)
			}
			c.readMessages()
			nc.Close()
		}
	})
	const size = 256 << 20
	archive := bigArchive(size)
	race("a large NAR, in", func(socket string, round int) {
		conns[socket][0].addNAR(fmt.Sprint("big-", round), archive)
	})
	var big = bigPath("big-0")
	race("a large NAR, out", func(socket string, round int) {
		c := conns[socket][0]
		c.call(&protocol.NarFromPathRequest{Path: big}, nil)
		if _, err := io.CopyN(io.Discard, c.in, int64(len(archive))); err != nil {
			t.Fatal(err)
		}
	})
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) { a.b = append(a.b, p...); return len(p), nil }

// bigArchive returns the archive of a file with this size.
func bigArchive(size int) []byte {
	a := &appender{make([]byte, 0, size+1000)}
	w := nar.NewWriter(a)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(size)})
	line := []byte(strings.Repeat("all work and no play ", 50_000))
	for left := size; left > 0; {
		n := min(left, len(line))
		w.Write(line[:n])
		left -= n
	}
	w.Close()
	return a.b
}

func bigPath(name string) storepath.Path {
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		panic(err)
	}
	return path
}

var bigHash nixhash.Hash

func (c *rawClient) addNAR(name string, archive []byte) {
	if bigHash == (nixhash.Hash{}) {
		bigHash = nixhash.Sum(nixhash.SHA256, archive)
	}
	info := store.PathInfo{Path: bigPath(name), NARHash: bigHash, NARSize: uint64(len(archive))}
	p, err := c.params.AppendRequest(nil, &protocol.AddToStoreNarRequest{Info: info, DontCheckSigs: true})
	if err != nil {
		panic(err)
	}
	c.nc.Write(p)
	for left := archive; len(left) > 0; {
		n := min(len(left), 64<<10)
		c.nc.Write(wire.AppendUint64(nil, uint64(n)))
		c.nc.Write(left[:n])
		left = left[n:]
	}
	c.nc.Write(wire.AppendUint64(nil, 0))
	c.readMessages()
}
