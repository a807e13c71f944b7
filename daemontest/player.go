package daemontest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"pix/activity"
	"pix/daemon"
	"pix/protocol"
	"pix/wire"
)

// A player is the daemon's side of a connection that replays a conversation.
type player struct {
	*Replayer
	nc  net.Conn
	in  *wire.Reader
	c   *conversation
	out []byte // to be said before anything is heard
}

// errLeft says that the client has hung up, or does not listen any more: what it should have
// asked is found out at the end of the test.
var errLeft = errors.New("the client has left")

// play replays the conversation. The error is errLeft, or what was not as recorded; it is nil
// if the daemon hangs up.
func (p *player) play() error {
	if err := p.greet(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := p.flush(); err != nil || p.c.hungUp && n == len(p.c.calls) {
			return err
		}
		k, err := p.hearRequest(n)
		if err != nil {
			return err
		}
		if err := p.playCall(n, k); err != nil {
			return err
		}
		switch {
		case k.answered == 0 && p.c.hungUp:
			return p.flush()
		case k.unfinished() && n == len(p.c.calls)-1:
			return p.hearOut()
		}
	}
}

// unfinished reports whether the body of a call may have gone on after what was recorded, with
// nothing to say where it ends.
func (k *recordedCall) unfinished() bool {
	switch k.body {
	case protocol.NoBody:
		return false
	case protocol.FramedBody, protocol.AskedBody:
		return k.answered == 0
	}
	return k.answered == 0 || k.failed
}

// hearOut listens until the client hangs up.
func (p *player) hearOut() error {
	if err := p.flush(); err != nil {
		return err
	}
	io.Copy(io.Discard, p.in)
	return errLeft
}

// greet shakes hands.
func (p *player) greet() error {
	if !p.c.greeted {
		if p.c.hungUp {
			return errLeft
		}
		return p.hearOut() // the client gave up waiting
	}
	params, err := protocol.ServerHandshake(p.in, p.nc, p.c.params.Dir, p.c.greeting, p.c.params.Features)
	if err != nil {
		return p.readError("the handshake", err)
	}
	if params != p.c.params {
		return fmt.Errorf("connection %d speaks protocol %s [%s], recorded is %s [%s]: record it again",
			p.c.number, params.Version, params.Features, p.c.params.Version, p.c.params.Features)
	}
	if p.say(p.c.welcome); p.c.refused {
		p.flush()
		return errLeft
	}
	return p.flush()
}

func (p *player) say(b []byte) { p.out = append(p.out, b...) }

// flush says what is to be said. A client that does not want to hear it has its reasons.
func (p *player) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	_, err := p.nc.Write(p.out)
	p.out = p.out[:0]
	if err != nil {
		return errLeft
	}
	return nil
}

// tell tells the client what is wrong before the connection is closed.
func (p *player) tell(what error) {
	m := protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "replaying a trace: " + what.Error()}}
	if b, err := p.c.params.AppendMessage(nil, m); err == nil {
		p.nc.Write(b)
	}
}

// readError returns errLeft if the client has hung up.
func (p *player) readError(what string, err error) error {
	var broken *wire.Error
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &broken) && broken.Err != nil {
		return errLeft // also where reading failed, as when it was reset
	}
	return fmt.Errorf("connection %d, %s: %w", p.c.number, what, err)
}

// hearRequest waits for a request, which must be the n-th that was recorded.
func (p *player) hearRequest(n int) (*recordedCall, error) {
	req, err := p.c.params.ReadRequest(p.in)
	if err != nil {
		return nil, p.readError(fmt.Sprintf("request %d", n+1), err)
	}
	got := p.c.params.TraceRequest(req, -1)
	if c := p.asks(p.c, n, got); c != nil {
		p.c = c
		return c.calls[n], nil
	}
	if isProbe(req) {
		return p.answerProbe(n)
	}
	if n >= len(p.c.calls) {
		return nil, fmt.Errorf("connection %d of the trace has only %d requests, this is one more:\n  got  %s", p.c.number, n, around(got, 0))
	}
	k := p.c.calls[n]
	return nil, fmt.Errorf("request %d of connection %d is not the recorded one (line %d of the trace):%s", n+1, p.c.number, k.line, difference(got, k.request))
}

// isProbe reports whether the client asks for a path of its own after a refused upload. A trace
// that was written by hand, or recorded before clients did so, does not have that request.
func isProbe(req protocol.Request) bool {
	q, ok := req.(*protocol.IsValidPathRequest)
	return ok && q.Path == daemon.ProbePath(q.Path.Dir())
}

// answerProbe answers that the path is not valid, and waits for the request that was recorded.
func (p *player) answerProbe(n int) (*recordedCall, error) {
	answer, err := p.c.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
	if err == nil {
		answer, err = p.c.params.AppendReply(answer, protocol.IsValidPath, new(protocol.IsValidPathReply))
	}
	if err != nil {
		return nil, err
	}
	p.say(answer)
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.hearRequest(n)
}

// playCall does what was done after a request was heard.
func (p *player) playCall(n int, k *recordedCall) error {
	b := &heardBody{player: p, call: k, number: n + 1}
	if k.body == protocol.FramedBody {
		b.frames = wire.NewFrameReader(p.in)
	}
	for i, s := range k.steps {
		switch {
		case s.hear != nil:
			if err := b.hear(s); err != nil {
				return err
			}
			continue
		case i == k.answered-2 && !k.failed: // the work is done: all has come
			if err := b.end(); err != nil {
				return err
			}
		}
		p.say(s.say)
		if i == k.answered-1 && k.failed && b.frames != nil {
			if err := p.flush(); err != nil {
				return err
			}
			if err := b.frames.Drain(); err != nil {
				return p.readError("a body", err)
			}
		}
	}
	return nil
}

// A heardBody compares what follows a request with what was recorded.
type heardBody struct {
	*player
	call   *recordedCall
	number int               // of the call
	frames *wire.FrameReader // nil if the body is in none
	n      int               // bytes that were heard
}

// hear reads a piece that was recorded. The client may cut its body into other pieces, unless
// it was asked for each.
func (b *heardBody) hear(s step) error {
	if err := b.flush(); err != nil {
		return err
	}
	if b.call.body == protocol.AskedBody {
		got, err := b.in.Bytes(protocol.MaxString)
		if err != nil {
			return b.readError("a body", err)
		}
		return b.compare(got, s.hear, s.line)
	}
	read := b.in.Read
	if b.frames != nil { // they may be small
		read = func(p []byte) (int, error) { return io.ReadFull(b.frames, p) }
	}
	buf := make([]byte, 32<<10)
	for want := s.hear; len(want) > 0; {
		m, err := read(buf[:min(len(buf), len(want))])
		if err := b.compare(buf[:m], want[:m], s.line); err != nil {
			return err
		}
		want = want[m:]
		if (err == io.EOF || err == io.ErrUnexpectedEOF) && b.frames != nil && len(want) > 0 {
			return b.compare(nil, want, s.line)
		}
		if err != nil && len(want) > 0 {
			return b.readError("a body", err)
		}
	}
	return nil
}

// compare says where two pieces differ.
func (b *heardBody) compare(got, want []byte, line int) error {
	if bytes.Equal(got, want) {
		b.n += len(got)
		return nil
	}
	same := 0
	for same < len(got) && same < len(want) && got[same] == want[same] {
		same++
	}
	return fmt.Errorf("what follows request %d of connection %d is not as recorded from byte %d on (line %d of the trace):\n  got  %s\n  want %s",
		b.number, b.c.number, b.n+same, line, protocol.TraceData(got[same:], protocol.TraceBody), protocol.TraceData(want[same:], protocol.TraceBody))
}

// end reads the end of frames.
func (b *heardBody) end() error {
	if b.frames == nil {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	var more [protocol.TraceBody + 1]byte
	switch n, err := b.frames.Read(more[:]); {
	case n > 0:
		return fmt.Errorf("what follows request %d of connection %d (line %d of the trace) goes on after the %d bytes that were recorded:\n  got  %s",
			b.number, b.c.number, b.call.line, b.n, protocol.TraceData(more[:n], protocol.TraceBody))
	case err != io.EOF:
		return b.readError("a body", err)
	}
	return nil
}
