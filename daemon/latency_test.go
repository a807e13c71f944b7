package daemon_test

import (
	"net"
	"time"
)

// delayed returns a connection to nc over which every byte takes that long, in each
// direction, however many follow it. It ends when either end does.
func delayed(nc net.Conn, delay time.Duration) net.Conn {
	ours, theirs := net.Pipe()
	go pump(nc, theirs, delay)
	go pump(theirs, nc, delay)
	return ours
}

// pump moves bytes from src to dst, each that long after it came.
func pump(dst, src net.Conn, delay time.Duration) {
	type packet struct {
		due time.Time
		b   []byte
	}
	queue := make(chan packet, 1<<16)
	go func() {
		defer close(queue)
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				queue <- packet{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
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
