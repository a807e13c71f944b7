package monitor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"pix/internal/testenv"
	"pix/protocol"
	"pix/wire"
)

// hello returns the start of a side with a version.
func hello(daemon bool, minor uint64) []byte {
	magic := uint64(0x6e697863)
	if daemon {
		magic = 0x6478696f
	}
	return wire.AppendUint64(wire.AppendUint64(nil, magic), 1<<8|minor)
}

// randomStream returns bytes of a side: often a valid start, then numbers as of the protocol, or noise.
func randomStream(r *rand.Rand, daemon bool) []byte {
	var b []byte
	if r.IntN(4) > 0 {
		b = hello(daemon, 10+uint64(r.IntN(90)))
	}
	words := []uint64{0, 1, 2, 5, 7, 9, 19, 26, 39, 47, 99, 1 << 40, uint64(protocol.MessageLast), uint64(protocol.MessageError), uint64(protocol.MessageRead)}
	for range r.IntN(200) {
		switch r.IntN(4) {
		case 0:
			b = wire.AppendString(b, strings.Repeat("x", r.IntN(100)))
		case 1:
			for range r.IntN(64) {
				b = append(b, byte(r.Uint32()))
			}
		default:
			b = wire.AppendUint64(b, words[r.IntN(len(words))])
		}
	}
	if r.IntN(8) == 0 { // more than sockets hold
		b = append(b, make([]byte, r.IntN(4<<20))...)
	}
	return b
}

// sendChunks writes bytes in random pieces, and then closes the stream.
func sendChunks(r *rand.Rand, nc *net.UnixConn, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(1<<r.IntN(20)))
		if _, err := nc.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nc.CloseWrite()
}

// Random bytes of both sides pass in any pieces, and each side sees the end of the other after
// them.
func TestRandomStreamsPass(t *testing.T) {
	testenv.NoLeak(t)
	seed := rand.Uint64()
	t.Log("seed", seed)
	p := newProxy(t)
	for i := range uint64(60) {
		client, daemon := p.dial()
		var wg sync.WaitGroup
		var failed [2]error
		sides := []*net.UnixConn{client, daemon}
		for side, nc := range sides {
			r := rand.New(rand.NewPCG(seed, 2*i+uint64(side)))
			b := randomStream(r, side == 1)
			other := sides[1-side]
			var sent error
			wg.Go(func() { sent = sendChunks(r, nc, b) })
			wg.Go(func() {
				got, err := io.ReadAll(other)
				if err == nil && !bytes.Equal(got, b) {
					err = fmt.Errorf("%d bytes arrive of %d, or other ones", len(got), len(b))
				}
				failed[side] = err
			})
			defer func() {
				if sent != nil {
					t.Error(sent)
				}
			}()
		}
		wg.Wait()
		if err := errors.Join(failed[:]...); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		client.Close()
		daemon.Close()
	}
}
