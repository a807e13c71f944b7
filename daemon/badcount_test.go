package daemon_test

import (
	"context"
	"io"
	"testing"

	"pix/daemon"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A miscounter is a reader that returns an invalid count.
type miscounter struct {
	n    int // negative, or added to the length of the buffer
	done bool
}

func (m *miscounter) Read(p []byte) (int, error) {
	if m.done {
		return 0, io.EOF
	}
	m.done = true
	if m.n < 0 {
		return m.n, nil
	}
	return len(p) + m.n, nil
}

// TestReaderThatMiscounts uploads from a reader with invalid counts. The call panics, as
// functions of package io do. The reader must not end the program on another goroutine, and
// only its own bytes may be sent.
func TestReaderThatMiscounts(t *testing.T) {
	info := claim(make([]byte, 100))
	uploads := []struct {
		name  string
		minor uint8
		call  func(ctx context.Context, c *daemon.Conn, r io.Reader) error
	}{
		{"AddToStore", 38, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, r, nil)
			return err
		}},
		{"AddToStore, 1.21, flat", 21, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, r, nil)
			return err
		}},
		{"AddToStore, 1.21, archive", 21, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			_, err := c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, nil, r, nil)
			return err
		}},
		{"AddToStoreNar", 38, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			return c.AddToStoreNAR(ctx, info, r, nil)
		}},
		{"AddToStoreNar, asked", 22, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			return c.AddToStoreNAR(ctx, info, r, nil)
		}},
		{"AddMultipleToStore", 38, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			return c.AddMultipleToStore(ctx, 1, func(yield func(store.Import, error) bool) {
				yield(store.Import{Info: info, NAR: r}, nil)
			}, nil)
		}},
		{"AddBuildLog", 38, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
			return c.AddBuildLog(ctx, fakeDrv, r)
		}},
	}
	for _, upload := range uploads {
		for _, n := range []int{-1, -9, 1} {
			t.Run(upload.name, func(t *testing.T) {
				at := fakeOp{version: upload.minor}
				play(t, at.daemonVersion(), nil, (*peer).serveQuietly, func(ctx context.Context, c *daemon.Conn) {
					defer func() {
						if recover() == nil {
							t.Errorf("a count of %d did not make the call panic", n)
						}
					}()
					upload.call(ctx, c, &miscounter{n: n})
				})
			})
		}
	}
}

// serveQuietly answers every operation until the connection ends at any point.
func (p *peer) serveQuietly() {
	p.t = nil
	p.serveAll()
}
