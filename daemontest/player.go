package daemontest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"

	"pix/activity"
	"pix/daemon"
	"pix/internal/redact"
	"pix/nixhash"
	"pix/protocol"
	"pix/wire"
)

// A player is the daemon's side of a connection that replays a conversation.
type player struct {
	*Replayer
	nc     net.Conn
	in     *wire.Reader
	c      *conversation
	queued []byte // written before the next read
}

// errClientGone means that the client has hung up or stopped reading. Missing requests are
// reported at the end of the test.
var errClientGone = errors.New("the client has left")

// play replays the conversation. The error is errClientGone, or describes a difference to the
// trace. It is nil if the daemon hangs up.
func (p *player) play() error {
	if err := p.greet(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := p.flush(); err != nil || p.c.daemonHungUp && n == len(p.c.calls) {
			return err
		}
		k, err := p.readRequest(n)
		if err != nil {
			return err
		}
		if err := p.playCall(n, k); err != nil {
			return err
		}
		switch {
		case k.answered == 0 && p.c.daemonHungUp:
			return p.flush()
		case k.isUnfinished() && n == len(p.c.calls)-1:
			return p.readToEnd()
		}
	}
}

// isUnfinished reports whether the body of a call may continue after the recorded part, without
// a recognisable end.
func (k *recordedCall) isUnfinished() bool {
	switch k.body {
	case protocol.NoBody:
		return false
	case protocol.FramedBody, protocol.AskedBody:
		return k.answered == 0
	}
	return k.answered == 0 || k.failed
}

// readToEnd reads until the client hangs up.
func (p *player) readToEnd() error {
	if err := p.flush(); err != nil {
		return err
	}
	io.Copy(io.Discard, p.in)
	return errClientGone
}

// greet performs the handshake.
func (p *player) greet() error {
	if !p.c.greeted {
		if p.c.daemonHungUp {
			return errClientGone
		}
		return p.readToEnd() // the client gave up waiting
	}
	params, err := protocol.ServerHandshake(p.in, p.nc, p.c.params.Dir, p.c.greeting, p.c.params.Features)
	if err != nil {
		return p.readError("the handshake", err)
	}
	if params != p.c.params {
		return fmt.Errorf("connection %d speaks protocol %s [%s], recorded is %s [%s]: record it again",
			p.c.number, params.Version, params.Features, p.c.params.Version, p.c.params.Features)
	}
	if p.queue(p.c.welcome); p.c.refused {
		p.flush()
		return errClientGone
	}
	return p.flush()
}

func (p *player) queue(b []byte) { p.queued = append(p.queued, b...) }

// flush writes the queued data. A client that does not read it is not an error.
func (p *player) flush() error {
	if len(p.queued) == 0 {
		return nil
	}
	_, err := p.nc.Write(p.queued)
	p.queued = p.queued[:0]
	if err != nil {
		return errClientGone
	}
	return nil
}

// sendError sends the client the error before the connection is closed.
func (p *player) sendError(what error) {
	m := protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "replaying a trace: " + what.Error()}}
	if b, err := p.c.params.AppendMessage(nil, m); err == nil {
		p.nc.Write(b)
	}
}

// readError returns errClientGone if the client has hung up.
func (p *player) readError(what string, err error) error {
	var broken *wire.Error
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &broken) && broken.Err != nil {
		return errClientGone // also after a failed read, such as a reset
	}
	return fmt.Errorf("connection %d, %s: %w", p.c.number, what, err)
}

// readRequest reads a request, which must be the recorded request n.
func (p *player) readRequest(n int) (*recordedCall, error) {
	req, err := p.c.params.ReadRequest(p.in)
	if err != nil {
		return nil, p.readError(fmt.Sprintf("request %d", n+1), err)
	}
	got := p.c.params.TraceRequest(req, -1)
	withoutSecrets := redact.Text(p.c.params.TraceRequest(protocol.WithoutSecrets(req), -1))
	if c := p.match(p.c, n, got, withoutSecrets); c != nil {
		p.c = c
		return c.calls[n], nil
	}
	if isProbe(req) {
		return p.answerProbe(n)
	}
	if n >= len(p.c.calls) {
		return nil, fmt.Errorf("connection %d of the trace has only %d requests, but another one came:\n  got  %s", p.c.number, n, around(got, 0))
	}
	k := p.c.calls[n]
	return nil, fmt.Errorf("request %d of connection %d is not the recorded one (line %d of the trace):%s", n+1, p.c.number, k.line, difference(got, k.request))
}

// isProbe reports whether the client checks the connection after a refused upload. A trace that
// was written by hand, or recorded with an old client, does not have this request.
func isProbe(req protocol.Request) bool {
	q, ok := req.(*protocol.IsValidPathRequest)
	return ok && q.Path == daemon.ProbePath(q.Path.Dir())
}

// answerProbe replies that the path is not valid, and reads the next request, which must be the
// recorded one.
func (p *player) answerProbe(n int) (*recordedCall, error) {
	answer, err := p.c.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
	if err == nil {
		answer, err = p.c.params.AppendReply(answer, protocol.IsValidPath, new(protocol.IsValidPathReply))
	}
	if err != nil {
		return nil, err
	}
	p.queue(answer)
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.readRequest(n)
}

// playCall replays the steps after a request.
func (p *player) playCall(n int, k *recordedCall) error {
	b := &replayedBody{player: p, call: k, number: n + 1}
	if k.body == protocol.FramedBody {
		b.frames = wire.NewFrameReader(p.in)
	}
	for i, s := range k.steps {
		switch {
		case s.receives():
			if err := b.read(s); err != nil {
				return err
			}
			continue
		case i == k.answered-2 && !k.failed: // the work is done, so the whole body has come
			if err := b.readEnd(); err != nil {
				return err
			}
		}
		p.queue(s.send)
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

// A replayedBody compares the body of a request with the recorded one.
type replayedBody struct {
	*player
	call     *recordedCall
	number   int               // the number of the call
	frames   *wire.FrameReader // nil if the body has no frames
	received int               // number of bytes received
}

// read reads a recorded piece. The client may split its body into other pieces, unless the
// daemon asked for each.
func (b *replayedBody) read(s step) error {
	if err := b.flush(); err != nil {
		return err
	}
	if b.call.body == protocol.AskedBody {
		got, err := b.in.Bytes(protocol.MaxString)
		switch {
		case err != nil:
			return b.readError("a body", err)
		case s.digest != nil:
			return b.compareDigest(uint64(len(got)), nixhash.Sum(nixhash.SHA256, got), s)
		}
		return b.compare(got, s.receive, s.line)
	}
	read := b.in.Read
	if b.frames != nil { // frames may be small
		read = func(p []byte) (int, error) { return io.ReadFull(b.frames, p) }
	}
	if s.digest != nil {
		return b.readDigest(read, s)
	}
	buf := make([]byte, 32<<10)
	for want := s.receive; len(want) > 0; {
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

// readDigest reads a piece that the trace does not contain.
func (b *replayedBody) readDigest(read func([]byte) (int, error), s step) error {
	hash := sha256.New()
	buf := make([]byte, 32<<10)
	for left := s.digest.size; left > 0; {
		n, err := read(buf[:min(uint64(len(buf)), left)])
		hash.Write(buf[:n])
		left -= uint64(n)
		if (err == io.EOF || err == io.ErrUnexpectedEOF) && b.frames != nil {
			return b.compareDigest(s.digest.size-left, nixhash.SHA256Hash([sha256.Size]byte(hash.Sum(nil))), s)
		}
		if err != nil && left > 0 {
			return b.readError("a body", err)
		}
	}
	return b.compareDigest(s.digest.size, nixhash.SHA256Hash([sha256.Size]byte(hash.Sum(nil))), s)
}

// compareDigest returns an error if a piece is not the recorded one.
func (b *replayedBody) compareDigest(size uint64, hash nixhash.Hash, s step) error {
	if size == s.digest.size && hash == s.digest.hash {
		b.received += int(size)
		return nil
	}
	return fmt.Errorf("what follows request %d of connection %d is not as recorded (line %d of the trace):\n  got  %s\n  want %s",
		b.number, b.c.number, s.line, protocol.TraceDigest(size, hash), protocol.TraceDigest(s.digest.size, s.digest.hash))
}

// compare returns an error that shows where two pieces differ.
func (b *replayedBody) compare(got, want []byte, line int) error {
	if bytes.Equal(got, want) {
		b.received += len(got)
		return nil
	}
	same := 0
	for same < len(got) && same < len(want) && got[same] == want[same] {
		same++
	}
	return fmt.Errorf("what follows request %d of connection %d is not as recorded from byte %d on (line %d of the trace):\n  got  %s\n  want %s",
		b.number, b.c.number, b.received+same, line, protocol.TraceData(got[same:], protocol.TraceBody), protocol.TraceData(want[same:], protocol.TraceBody))
}

// readEnd reads the end of the frames.
func (b *replayedBody) readEnd() error {
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
			b.number, b.c.number, b.call.line, b.received, protocol.TraceData(more[:n], protocol.TraceBody))
	case err != io.EOF:
		return b.readError("a body", err)
	}
	return nil
}
