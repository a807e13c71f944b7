package localstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"

	"pix/nar"
	"pix/nixhash"
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

// BenchmarkServedPathInfos measures the cost of a path info for the server, one by one and pipelined, with a client
// that does almost no work.
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

// BenchmarkServedNAR measures the cost of adding and reading a large object.
func BenchmarkServedNAR(b *testing.B) {
	s := open(b, Options{Root: b.TempDir(), NoSync: true})
	nc, in, params := serve(b, s)
	const size = 64 << 20
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: size})
	io.Copy(w, io.LimitReader(rand.NewChaCha8([32]byte{}), size))
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	info := &store.PathInfo{NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len())}
	last := func() {
		if m, err := params.ReadMessage(in); err != nil || m.Kind != protocol.MessageLast {
			b.Fatal(m, err)
		}
	}
	n := 0
	b.Run("in", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			n++
			info.Path = somePath(b, n)
			p, err := params.AppendRequest(nil, &protocol.AddToStoreNarRequest{Info: *info, DontCheckSigs: true})
			if err != nil {
				b.Fatal(err)
			}
			nc.Write(p)
			for left := archive.Bytes(); len(left) > 0; {
				piece := left[:min(32<<10, len(left))] // like Nix
				nc.Write(wire.AppendUint64(nil, uint64(len(piece))))
				nc.Write(piece)
				left = left[len(piece):]
			}
			nc.Write(wire.AppendUint64(nil, 0))
			last()
		}
	})
	p, err := params.AppendRequest(nil, &protocol.NarFromPathRequest{Path: info.Path})
	if err != nil {
		b.Fatal(err)
	}
	out := func() {
		nc.Write(p)
		last()
		if err := in.Discard(info.NARSize); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first out", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			s.verified.forget()
			out()
		}
	})
	b.Run("out", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			out()
		}
	})
}

// forget makes every object one that was not verified yet.
func (v *verifiedObjects) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.byPath)
}

// BenchmarkServedTexts measures the cost of adding a small text.
func BenchmarkServedTexts(b *testing.B) {
	s := open(b, Options{Root: b.TempDir()})
	nc, in, params := serve(b, s)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		p, err := params.AppendRequest(nil, &protocol.AddToStoreRequest{Name: fmt.Sprint("text-", n), Method: storepath.Text, Algorithm: nixhash.SHA256})
		if err != nil {
			b.Fatal(err)
		}
		p = wire.AppendUint64(p, 9)
		p = append(p, "some text"...)
		nc.Write(wire.AppendUint64(p, 0))
		if m, err := params.ReadMessage(in); err != nil || m.Kind != protocol.MessageLast {
			b.Fatal(m, err)
		}
		if err := params.ReadReply(in, protocol.AddToStore, new(protocol.AddToStoreReply)); err != nil {
			b.Fatal(err)
		}
	}
}
