// Package latency makes connections and stores slow, for tests and measurements: data arrives with a
// delay, however much of it there is.
package latency

import (
	"net"
	"testing"
	"time"
)

// Conn returns a connection to nc that delays every byte in each direction. The delay is not a limit of
// the bandwidth. The connection ends when either end is closed.
func Conn(nc net.Conn, delay time.Duration) net.Conn {
	ours, theirs := net.Pipe()
	join(nc, theirs, delay)
	return ours
}

// join connects two connections, and delays every byte in each direction. It closes both when either end is closed.
func join(a, b net.Conn, delay time.Duration) {
	go pump(a, b, delay)
	go pump(b, a, delay)
}

// Proxy listens on a Unix socket until the test ends. It connects each client to the socket at target, and
// delays every byte in each direction.
func Proxy(t testing.TB, socket, target string, delay time.Duration) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go Relay(l, target, delay)
}

// Relay connects each client of l to the address target in the same network, and delays every byte in each direction. It
// returns when l is closed.
func Relay(l net.Listener, target string, delay time.Duration) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(l.Addr().Network(), target)
		if err != nil {
			client.Close()
			continue
		}
		join(client, server, delay)
	}
}

// inFlight is the maximal number of delayed pieces of a stream. Beyond it the sender blocks.
const inFlight = 1 << 16

// pump copies bytes from src to dst, each after the delay, and closes dst after the last one.
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
