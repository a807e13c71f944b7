package daemon_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/latency"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// benchConn returns a connection to a fake daemon on a socket.
func benchConn(b *testing.B) *daemon.Conn {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			go fakeServe(nc, newest, func(p *peer) {
				for req := p.next(); req != nil; req = p.next() {
					p.do(req)
				}
			})
		}
	}()
	c, err := daemon.Dial(b.Context(), socket, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// Sequential queries. Each waits for its answer.
func BenchmarkLoneQuery(b *testing.B) {
	c := benchConn(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.IsValidPath(b.Context(), helloPath); err != nil {
			b.Fatal(err)
		}
	}
}

// A thousand pipelined path infos. The time is for one of them.
func BenchmarkQueryPathInfos(b *testing.B) {
	c := benchConn(b)
	const n = 1000
	paths := make([]storepath.Path, n)
	for i := range paths {
		paths[i] = helloPath
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := readInfos(c.QueryPathInfos(b.Context(), paths), n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/path")
}

// An upload of 16 MB to a daemon that discards it.
func BenchmarkUpload(b *testing.B) {
	c := benchConn(b)
	const size = 16 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.AddToStore(b.Context(), "hello.txt", storepath.Flat, nixhash.SHA256, nil, io.LimitReader(zeros{}, size), nil)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRealLatency queries the path infos of 10,000 paths from real daemons, with round
// trips of 20 ms, including the handshake.
func BenchmarkRealLatency(b *testing.B) {
	const n, trip = 10_000, 20 * time.Millisecond
	for _, s := range realnix.Suites() {
		b.Run(s.Name, func(b *testing.B) {
			d := realnix.Start(b, s, nil)
			paths := addMany(b, d, n)
			for b.Loop() {
				p, err := daemon.Open(b.Context(), distant{daemon.Unix{Path: d.Socket}, trip / 2}, nil)
				if err != nil {
					b.Fatal(err)
				}
				i := 0
				for info, err := range p.QueryPathInfos(b.Context(), paths) {
					if err != nil || info.Path != paths[i] {
						b.Fatal(info, err)
					}
					i++
				}
				p.Close()
			}
		})
	}
}

// A distant transport delays each direction.
type distant struct {
	daemon.Transport
	delay time.Duration
}

func (d distant) Dial(ctx context.Context) (net.Conn, error) {
	nc, err := d.Transport.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return latency.Conn(nc, d.delay), nil
}

// addMany adds n objects to a daemon's store, and returns their paths.
func addMany(b *testing.B, d *realnix.Daemon, n int) (paths []storepath.Path) {
	b.Helper()
	p := openReal(b, d, nil)
	objects := fakeObjects(n)
	if err := p.AddMultipleToStore(b.Context(), n, objects, &store.AddOptions{NoSignatures: true}); err != nil {
		b.Fatal(err)
	}
	for object, err := range objects {
		if err != nil {
			b.Fatal(err)
		}
		paths = append(paths, object.Info.Path)
	}
	return paths
}
