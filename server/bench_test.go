package server_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// socketClient returns a client on a Unix socket, as in real use.
func socketClient(b *testing.B, s store.Store) *client {
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go server.Accept(b.Context(), l, func(ctx context.Context, nc net.Conn) { server.Serve(ctx, nc, s, trusted) })
	nc, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	c := &client{t: b, nc: nc, in: wire.NewReader(nc, 64<<10)}
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err != nil {
		b.Fatal(err)
	}
	if err := c.messages(); err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkQueryPathInfo(b *testing.B) {
	s, _, referrer := newStore(b)
	c := socketClient(b, s)
	req := &protocol.QueryPathInfoRequest{Path: referrer}
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			must[*protocol.QueryPathInfoReply](c, req, nil)
		}
	})
	b.Run("pipelined", func(b *testing.B) {
		p, err := c.params.AppendRequest(nil, req)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for range b.N {
				c.nc.Write(p)
			}
		}()
		for range b.N {
			if err := c.messages(); err != nil {
				b.Fatal(err)
			}
			if _, err := c.reply(req.Op()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNarFromPath(b *testing.B) {
	s, _, _ := newStore(b)
	path, err := s.AddTextToStore(b.Context(), "big", bigText, nil)
	if err != nil {
		b.Fatal(err)
	}
	c := socketClient(b, s)
	size := int64(len(fileNAR(bigText)))
	b.SetBytes(size)
	for b.Loop() {
		must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
		if _, err := io.CopyN(io.Discard, c.in, size); err != nil {
			b.Fatal(err)
		}
	}
}
