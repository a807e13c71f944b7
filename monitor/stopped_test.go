package monitor_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"pix/internal/testenv"
)

// A side that does not read, such as a stopped process, makes the other side wait, as it does without
// a monitor. Other connections go on, and no byte is lost.
func TestStoppedSide(t *testing.T) {
	testenv.NoLeak(t)
	p := newProxy(t)
	for _, daemonStops := range []bool{false, true} {
		stopped, other := p.dial()
		if daemonStops {
			stopped, other = other, stopped
		}
		const most = 64 << 20
		other.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := other.Write(make([]byte, most))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > most/4 {
			t.Errorf("%d bytes were taken from a side whose other side does not read: %v", n, err)
		}
		client, daemon := p.dial()
		p.write(client, []byte("a request"))
		p.expect(daemon, []byte("a request"))
		p.write(daemon, []byte("a reply"))
		p.expect(client, []byte("a reply"))
		other.CloseWrite()
		if got, err := io.Copy(io.Discard, stopped); err != nil || got != int64(n) {
			t.Errorf("%d bytes arrived of %d, %v", got, n, err)
		}
	}
}
