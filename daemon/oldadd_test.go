package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"pix/daemon"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
)

// heapReader returns n bytes, and records the largest heap while it is read.
type heapReader struct {
	io.Reader
	read, seen int64
	largest    uint64
}

func newHeapReader(n int64) *heapReader {
	return &heapReader{Reader: io.LimitReader(letters{}, n)}
}

func (h *heapReader) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if h.read += int64(n); h.read-h.seen >= 8<<20 {
		h.seen = h.read
		h.largest = max(h.largest, heapNow())
	}
	return n, err
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// letters returns the same letter forever.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A daemon before 1.25 needs the size of a file first. The client must not keep the contents in
// memory to determine it: a client of a proxy may send any size.
func TestOldFlatFileIsNotKeptInMemory(t *testing.T) {
	const size = 64 << 20
	var got nixhash.Hash
	serve := func(p *peer) {
		for req := p.next(); req != nil; req = p.next() {
			if _, ok := req.(*protocol.AddToStoreRequest); ok {
				h := nar.NewHasher(nixhash.SHA256)
				if _, err := nar.Copy(h, p.in); err != nil {
					return
				}
				got = h.Hash()
				p.answer(req.Op(), fakeAdded(req, bytes.Repeat([]byte("x"), size)))
				continue
			}
			p.answer(req.Op(), fakeReply(req))
		}
	}
	play(t, protocol.MakeVersion(21), nil, serve, func(ctx context.Context, c *daemon.Conn) {
		contents := newHeapReader(size)
		before := heapNow()
		if _, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, contents, nil); err != nil {
			t.Fatal(err)
		}
		if grown := int64(contents.largest) - int64(before); grown > 16<<20 {
			t.Errorf("the heap grew by %d MiB", grown>>20)
		}
		want := nar.NewHasher(nixhash.SHA256)
		w := nar.NewWriter(want)
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: size})
		io.Copy(w, io.LimitReader(letters{}, size))
		if err := w.Close(); err != nil || got != want.Hash() {
			t.Errorf("the daemon got another file: %v", err)
		}
		stillGood(t, ctx, c)
	})
}

// A daemon before 1.25 needs a text in one piece. So an endless text is an error before it
// fills the memory, and nothing is sent.
func TestOldTextIsLimited(t *testing.T) {
	play(t, protocol.MakeVersion(21), nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		contents := newHeapReader(1 << 40)
		_, err := c.AddToStore(ctx, "x", storepath.Text, nixhash.SHA256, nil, contents, nil)
		if err == nil || !strings.Contains(err.Error(), "64 MiB") || errors.Is(err, daemon.ErrConnLost) {
			t.Errorf("an endless text: %v", err)
		}
		if contents.read > 65<<20 {
			t.Errorf("%d MiB were read", contents.read>>20)
		}
		stillGood(t, ctx, c)
	})
}

// If the contents of a file cannot be read, or the call is cancelled, nothing is sent to a
// daemon before 1.25, and the connection stays usable.
func TestOldFlatFileFails(t *testing.T) {
	for _, size := range []int64{0, 100, 4 << 20} {
		play(t, protocol.MakeVersion(21), nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
			broken := io.MultiReader(io.LimitReader(letters{}, size), failingReader{errWrong})
			if _, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, broken, nil); !errors.Is(err, errWrong) {
				t.Errorf("%v, want %v", err, errWrong)
			}
			limited, cancel := context.WithCancel(ctx)
			endless := readerFunc(func(p []byte) (int, error) {
				if size -= int64(len(p)); size <= 0 {
					cancel()
				}
				return len(p), nil
			})
			if _, err := c.AddToStore(limited, "x", storepath.Flat, nixhash.SHA256, nil, endless, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
			stillGood(t, ctx, c)
		})
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
