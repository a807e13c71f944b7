package monitor

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"pix/protocol"
)

// readClient decodes what the client sends.
func (o *observer) readClient(s *stream) error {
	if err := o.readClientHandshake(s); err != nil {
		return err
	}
	for {
		s.endValue()
		from := s.offset()
		req, err := o.params.ReadRequest(s.in)
		if err != nil {
			return err
		}
		if len(o.pending) >= maxPending {
			return errAhead
		}
		op := o.newOperation(req, from, s)
		if err := o.readBody(s, op, req); err != nil {
			return err
		}
		op.Up, op.requested = s.offset()-from, true
	}
}

// readClientHandshake decodes the client's half of the handshake. The daemon's version is known
// when the client sends what depends on it.
func (o *observer) readClientHandshake(s *stream) error {
	version, err := protocol.ReadHello(s.in, false)
	if err != nil {
		return err
	}
	o.clientVersion = version
	if err := s.in.Peek(); err != nil {
		return err
	}
	if o.daemonVersion == 0 {
		return errors.New("the client does not wait for the daemon's version")
	}
	if min(version, o.daemonVersion) >= protocol.FeatureVersion {
		if o.clientFeatures, err = protocol.ReadFeatureNames(s.in); err != nil {
			return err
		}
	}
	if err := protocol.ReadObsolete(s.in); err != nil {
		return err
	}
	if err := s.in.Peek(); err != nil {
		return err
	}
	if !o.greeted {
		return errors.New("the client does not wait for the end of the handshake")
	}
	return nil
}

// newOperation adds a request to those without a reply.
func (o *observer) newOperation(req protocol.Request, from int64, s *stream) *operation {
	op := &operation{op: req.Op(), from: from}
	op.Name, op.Number, op.Start, op.Up = req.Op().String(), uint64(req.Op()), s.at, s.offset()-from
	if op.Up <= maxShown {
		op.Request = shownFields(o.params.TraceRequest(protocol.WithoutSecrets(req), shownBody))
	} else {
		op.Request = fmt.Sprintf("(%d bytes)", op.Up)
	}
	op.held = len(op.Request) + pendingSize
	o.held += op.held
	o.m.memory.reserve(op.held)
	o.pending = append(o.pending, op)
	o.record.request(s.at, o.params, req)
	return op
}

const (
	// maxShown is the largest size in bytes of a request or a reply that is shown as text.
	maxShown = 1 << 20
	// shownBody is the length in bytes of the contents in a request that are shown: texts that a
	// client adds may be secret.
	shownBody = 0
	// pendingSize is about the memory of a request without a reply, besides its text.
	pendingSize = 512
)

// readBody reads what follows a request.
func (o *observer) readBody(s *stream, op *operation, req protocol.Request) error {
	row, _ := protocol.Lookup(req.Op())
	switch row.Body(o.params) {
	case protocol.FramedBody:
		return o.skim(s, new(frameSkimmer))
	case protocol.NARBody:
		return o.skim(s, new(narSkimmer))
	case protocol.AskedBody:
		return o.readStrings(s, op)
	}
	return nil
}

// skim reads a body and records it.
func (o *observer) skim(s *stream, k skimmer) error {
	from := FromClient
	if s == o.streams[FromDaemon] {
		from = FromDaemon
	}
	body := o.record.body(s.at, from)
	err := s.skimBody(k, body.write)
	body.end(s.at, !o.tap.hasLost(from))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readStrings reads the strings that the daemon asks for, until it has answered.
func (o *observer) readStrings(s *stream, op *operation) error {
	for {
		if err := s.in.Peek(); err != nil {
			return err
		}
		switch {
		case op.reads > 0:
			op.reads--
			if err := o.skim(s, new(stringSkimmer)); err != nil {
				return err
			}
		case op.ended:
			return nil
		default:
			return errors.New("the client sends a string that the daemon has not asked for")
		}
	}
}

// hasLost reports whether bytes of the last body are missing.
func (t *tap) hasLost(dir Direction) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost[dir]
}

// common returns the features that both sides have. unknown are the names that pix does not know.
func common(client, daemon []string) (known protocol.Features, unknown []string) {
	var both []string
	for _, name := range client {
		if slices.Contains(daemon, name) {
			both = append(both, name)
		}
	}
	return protocol.ParseFeatures(both)
}
