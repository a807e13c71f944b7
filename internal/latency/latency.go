// Package latency makes connections and stores slow, for tests and measurements: whatever is
// said over them, or read from them, comes later, however much it is.
package latency

import (
	"net"
	"testing"
	"time"
)

// Conn returns a connection to nc over which every byte takes that long, in each direction,
// however many follow it. It ends when either end does.
func Conn(nc net.Conn, delay time.Duration) net.Conn {
	ours, theirs := net.Pipe()
	go pump(nc, theirs, delay)
	go pump(theirs, nc, delay)
	return ours
}

// Proxy listens on a Unix socket until the test ends, and connects whoever comes to the socket
// at target, over a connection on which every byte takes that long in each direction.
func Proxy(t testing.TB, socket, target string, delay time.Duration) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", target)
			if err != nil {
				client.Close()
				continue
			}
			go pump(server, client, delay)
			go pump(client, server, delay)
		}
	}()
}

// inFlight is how many pieces of a stream are on their way at most, so that whoever sends more
// is held up.
const inFlight = 1 << 16

// pump moves bytes from src to dst, each that long after it came, and closes dst after the last.
func pump(dst, src net.Conn, delay time.Duration) {
	type piece struct {
		due time.Time
		b   []byte
	}
	queue := make(chan piece, inFlight)
	go func() {
		defer close(queue)
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				queue <- piece{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
			}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for p := range queue {
		if err != nil {
			continue
		}
		time.Sleep(time.Until(p.due))
		if _, err = dst.Write(p.b); err != nil {
			src.Close()
		}
	}
	dst.Close()
}
