package server_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"pix/daemon"
	"pix/nixhash"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Clients leave at any moment, the server stops, and the upstream daemon dies. There must be no
// wrong reply, no panic, no race and no leak.
func TestProxyRandomly(t *testing.T) {
	before := runtime.NumGoroutine()
	b := &behind{store: memstore.New(nil)}
	pool, err := daemon.Open(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pool.AddTextToStore(t.Context(), "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	for seed := range uint64(8) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(1, seed))
			for range 40 {
				randomClient(t, r, b, pool, text)
			}
		})
	}
	workers.Wait()
	pool.Close()
	b.ended.Wait()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

// randomClient makes a few calls and cancels most of them half-way.
func randomClient(t *testing.T, r *rand.Rand, b *behind, s store.Store, text storepath.Path) {
	ours, theirs := net.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	opts := &server.Options{Trusted: r.IntN(2) == 0}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(ctx, theirs, s, opts) })
	defer served.Wait()
	defer stop()
	defer ours.Close()
	c, err := daemon.NewConn(context.Background(), ours, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for range 5 {
		randomCall(t, r, c, text)
		if r.IntN(20) == 0 {
			b.die()
		}
		if r.IntN(20) == 0 {
			stop()
		}
	}
}

func randomCall(t *testing.T, r *rand.Rand, c *daemon.Conn, text storepath.Path) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(3000))*time.Microsecond)
	defer cancel()
	switch r.IntN(6) {
	case 0:
		if valid, err := c.IsValidPath(ctx, absent); valid && err == nil {
			t.Errorf("'%s' is valid", absent)
		}
	case 1:
		if valid, err := c.IsValidPath(ctx, text); !valid && err == nil {
			t.Errorf("'%s' is not valid", text)
		}
	case 2:
		c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, io.LimitReader(zeros{}, r.Int64N(300_000)), nil)
	case 3:
		c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, nil, io.LimitReader(zeros{}, r.Int64N(300_000)), nil)
	case 4:
		if archive, err := c.NARFromPath(ctx, text); err == nil {
			io.Copy(io.Discard, archive)
			archive.Close()
		}
	case 5:
		info, archive := importOf(t, "x")
		c.AddToStoreNAR(ctx, info, io.LimitReader(zeros{}, int64(len(archive))), &store.AddOptions{NoSignatures: true})
	}
}

// zeros returns zero bytes forever.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
