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

// ReplayOptions say what a replay does not insist on. Nil and the zero values are useful.
type ReplayOptions struct {
	// Partial lets the test end before all that was recorded was asked.
	Partial bool
}

// A Replayer is a daemon that says again what another has said. Its methods may be called by
// any number of goroutines.
type Replayer struct {
	opts ReplayOptions
	recording
	host
}

// Replay starts a daemon that replays a trace which was recorded in full: with
// daemon.Options.TraceBody -1, or by pix --trace FILE --trace-bodies. It expects the requests
// of each connection as they were recorded, in their order, and answers them with the
// messages, replies and archives that were recorded, in the version of the protocol that was
// spoken. When is of no matter, but that a request is answered only after it has come.
//
// The test fails with both lines of the trace if a request, or what follows it, is not the
// recorded one; if there are more requests or connections; and, at its end, if some were not
// made. Connections may come in another order: one is the first of those recorded that begin
// with the requests it has made. What follows requests does not tell them apart.
//
// Lines of the trace that are empty, or begin with "#", are passed over. What is no trace, or
// was cut, fails the test at once, with a [*protocol.TraceError].
func Replay(t testing.TB, trace io.Reader, opts *ReplayOptions) *Replayer {
	t.Helper()
	conversations, err := readTrace(trace)
	if err != nil {
		t.Fatal(err)
	}
	r := new(Replayer)
	r.conversations, r.taken, r.asked = conversations, make(map[*conversation]bool), make(map[*conversation]int)
	if opts != nil {
		r.opts = *opts
	}
	t.Cleanup(r.checkAsked) // when all connections have ended
	r.begin(t, r.serveConn)
	return r
}

// checkAsked fails the test if something was not asked.
func (r *Replayer) checkAsked() {
	if r.opts.Partial || r.t.Failed() {
		return
	}
	for _, c := range r.conversations {
		if n, needed := r.asked[c], c.needed(); n < needed {
			r.t.Errorf("request %d of connection %d was not made, nor the %d after it:\n  want %s (line %d of the trace)",
				n+1, c.number, needed-n-1, around(c.calls[n].request, 0), c.calls[n].line)
		}
	}
}

// serveConn replays a conversation on a connection.
func (r *Replayer) serveConn(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	p := &player{Replayer: r, nc: nc, in: wire.NewReader(nc, 0), c: r.take()}
	if p.c == nil {
		err := fmt.Errorf("the trace has only %d connections, this is one more", len(r.conversations))
		r.t.Error(err)
		return err
	}
	err := p.play()
	if err == errLeft || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		r.t.Error(err)
		p.tell(err)
	}
	return err
}

// difference shows two lines that should be the same, what is around the difference if they
// are long.
func difference(got, want string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	return fmt.Sprintf("\n  got  %s\n  want %s\nthey differ from column %d on", around(got, n), around(want, n), n+1)
}

// around returns what there is around a place in a line.
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
