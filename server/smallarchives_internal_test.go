package server

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pix/nar"
	"pix/protocol"
	"pix/store"
)

// A writeCounter counts the calls of Write.
type writeCounter struct {
	net.Conn
	n atomic.Int64
}

func (w *writeCounter) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// The replies to pipelined requests for small archives are sent in one write. A large archive among them is sent in pieces, in its
// place.
func TestPipelinedArchives(t *testing.T) {
	for _, test := range []struct {
		sizes  []int
		writes int64 // at most
	}{
		{[]int{5}, 1},
		{[]int{5, 0, 700, 8, 20_000, 9}, 1},
		{[]int{5, 700, 300_000, 8, 9}, 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTestWorld(t, 64<<20, 0)
			var requests []byte
			var lengths []int64 // of the archives
			var want bytes.Buffer
			ours, theirs := net.Pipe()
			counter := &writeCounter{Conn: theirs}
			c := w.serve(ours, counter, 1, false)
			for _, size := range test.sizes {
				text := strings.Repeat("x", size)
				path, err := store.AddText(t.Context(), w.s, "text", text, nil)
				if err != nil {
					t.Fatal(err)
				}
				requests = append(requests, c.encode(&protocol.NarFromPathRequest{Path: path})...)
				before := want.Len()
				nar.WriteFile(&want, strings.NewReader(text), uint64(size))
				lengths = append(lengths, int64(want.Len()-before))
			}
			before := counter.n.Load()
			c.begin(requests)
			var got bytes.Buffer
			for _, length := range lengths {
				if err := c.answer(protocol.NarFromPath); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(&got, c.in, length); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%d: the archives differ", test.sizes)
			}
			if n := counter.n.Load() - before; n > test.writes {
				t.Errorf("%d: %d writes, want at most %d", test.sizes, n, test.writes)
			}
			c.close()
			w.checkReleased()
		})
	}
}
