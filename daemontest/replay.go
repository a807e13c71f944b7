package daemontest

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"pix/wire"
)

// ReplayOptions relax the checks of a replay. Nil and the zero values are useful.
type ReplayOptions struct {
	// Partial allows the test to end before all recorded requests were made.
	Partial bool
}

// A Replayer is a daemon that replays a trace. Its methods may be called by any number of
// goroutines.
type Replayer struct {
	opts ReplayOptions
	recording
	host
}

// Replay starts a daemon that replays a full trace, recorded with daemon.Options.TraceBody -1,
// with pix --trace FILE --trace-bodies or with pix monitor --record FILE. It expects the recorded requests of each connection,
// in their order, and sends the recorded messages, replies and archives in the recorded version
// of the protocol. Timing does not matter, except that a request is answered only after it has
// come.
//
// The test fails with both lines of the trace if a request or its body differs from the
// recorded one, if there are more requests or connections, or if at its end some were not made.
// Connections may come in another order: each is matched with the first recorded one that
// starts with the same requests. Bodies do not distinguish connections.
//
// A recording of pix monitor may have hashes instead of contents. Replay compares the hash of an
// upload. It cannot send an archive that it does not have, so a recording with downloads needs
// --bodies. Secret settings are not compared.
//
// Empty lines of the trace and lines that start with "#" are ignored. An invalid or cut trace
// fails the test at once, with a [*protocol.TraceError].
func Replay(t testing.TB, trace io.Reader, opts *ReplayOptions) *Replayer {
	t.Helper()
	conversations, err := readTrace(trace)
	if err != nil {
		t.Fatal(err)
	}
	r := new(Replayer)
	r.conversations, r.used, r.calls = conversations, make(map[*conversation]bool), make(map[*conversation]int)
	if opts != nil {
		r.opts = *opts
	}
	t.Cleanup(r.checkAsked) // runs after all connections have ended
	r.start(t, r.serveConn)
	return r
}

// checkAsked fails the test if a recorded request was not made.
func (r *Replayer) checkAsked() {
	if r.opts.Partial || r.t.Failed() {
		return
	}
	for _, c := range r.conversations {
		if n, needed := r.calls[c], c.numRequired(); n < needed {
			r.t.Errorf("request %d of connection %d was not made, nor the %d after it:\n  want %s (line %d of the trace)",
				n+1, c.number, needed-n-1, around(c.calls[n].request, 0), c.calls[n].line)
		}
	}
}

// serveConn replays a conversation on a connection.
func (r *Replayer) serveConn(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	p := &player{Replayer: r, nc: nc, in: wire.NewReader(nc, 0), c: r.next()}
	if p.c == nil {
		err := fmt.Errorf("the trace has only %d connections, but another one was opened", len(r.conversations))
		r.t.Error(err)
		return err
	}
	err := p.play()
	if err == errClientGone || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		r.t.Error(err)
		p.sendError(err)
	}
	return err
}

// difference shows two lines that should be equal, or the parts around the difference if they
// are long.
func difference(got, want string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	return fmt.Sprintf("\n  got  %s\n  want %s\nthey differ from column %d on", around(got, n), around(want, n), n+1)
}

// around returns the part of a line around an index.
func around(line string, at int) string {
	const most, before = 600, 200
	if len(line) <= most {
		return line
	}
	from, dots := max(0, at-before), ""
	if from > 0 {
		dots = "…"
	}
	to := min(len(line), from+most)
	if to < len(line) {
		return dots + strings.ToValidUTF8(line[from:to], "") + "…"
	}
	return dots + strings.ToValidUTF8(line[from:to], "")
}
