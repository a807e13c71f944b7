package localstore

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// serve serves a store on a Unix socket, and returns a connection to it after the handshake.
func serve(b *testing.B, s store.Store) (net.Conn, *wire.Reader, protocol.Params) {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	srv := &server.Server{Store: s, Options: &server.Options{Trusted: true}}
	go srv.Serve(context.Background(), l)
	nc, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	in := wire.NewReader(nc, 64<<10)
	params, _, err := protocol.ClientHandshake(in, nc, storepath.DefaultDir)
	if err != nil {
		b.Fatal(err)
	}
	if m, err := params.ReadMessage(in); err != nil || m.Kind != protocol.MessageLast {
		b.Fatal(m, err)
	}
	return nc, in, params
}

// What a path info costs the server, asked for one by one or many at once, by a client that does
// next to nothing.
func BenchmarkServedPathInfos(b *testing.B) {
	s := open(b, Options{Root: b.TempDir()})
	paths := fill(b, s, 10_000)[9_000:]
	nc, in, params := serve(b, s)
	var all []byte
	requests, sizes, size := make([][]byte, len(paths)), make([]int64, len(paths)), int64(0)
	for i, path := range paths {
		info, err := s.QueryPathInfo(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		reply, err := params.AppendReply(nil, protocol.QueryPathInfo, &protocol.QueryPathInfoReply{Info: info})
		if err != nil {
			b.Fatal(err)
		}
		if requests[i], err = params.AppendRequest(nil, &protocol.QueryPathInfoRequest{Path: path}); err != nil {
			b.Fatal(err)
		}
		all = append(all, requests[i]...)
		sizes[i] = wire.WordSize + int64(len(reply))
		size += sizes[i]
	}
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			i := i % len(paths)
			nc.Write(requests[i])
			if err := in.Discard(uint64(sizes[i])); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("at once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			go nc.Write(all)
			if err := in.Discard(uint64(size)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(paths)), "ns/path")
	})
}
