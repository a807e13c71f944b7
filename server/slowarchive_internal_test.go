package server

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A pausingStore is a store whose archives are pieces, with a pause after each.
type pausingStore struct {
	store.Store
	pieces [][]byte
	pause  time.Duration
}

func (s *pausingStore) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	pr, pw := io.Pipe()
	go func() {
		for _, p := range s.pieces {
			pw.Write(p)
			time.Sleep(s.pause)
		}
		pw.Close()
	}()
	return pr, nil
}

// While the store pauses in the middle of an archive, a client receives what the store has returned, except the bytes that are always
// held back. This is independent of further requests.
func TestSlowArchive(t *testing.T) {
	for _, requests := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			w := newTestWorld(t, 64<<20, 0)
			piece := bytes.Repeat([]byte("x"), 1000)
			w.s = &pausingStore{w.s, [][]byte{piece, piece, piece, piece}, time.Hour}
			c := w.connect(1, false)
			c.begin(bytes.Repeat(c.encode(&protocol.NarFromPathRequest{Path: w.base}), requests))
			for range requests {
				if err := c.answer(protocol.NarFromPath); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for i := range 4 {
					n := int64(len(piece))
					if i == 0 {
						n -= heldBack
					}
					if _, err := io.CopyN(io.Discard, c.in, n); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(start); took > time.Duration(i)*time.Hour+time.Minute {
						t.Errorf("%d requests: piece %d arrived after %v", requests, i, took)
					}
				}
				if _, err := io.CopyN(io.Discard, c.in, heldBack); err != nil {
					t.Fatal(err)
				}
			}
			c.close()
			w.checkReleased()
		})
	}
}
