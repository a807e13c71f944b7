package monitor

import (
	"errors"
	"fmt"
	"strings"

	"pix/activity"
	"pix/internal/redact"
	"pix/protocol"
)

// readDaemon decodes what the daemon sends.
func (o *observer) readDaemon(s *stream) error {
	if err := o.readGreeting(s); err != nil {
		return err
	}
	for {
		s.endValue()
		from := s.offset()
		if err := s.in.Peek(); err != nil {
			return err
		}
		m, err := o.params.ReadMessage(s.in)
		if err != nil {
			return err
		}
		o.record.message(s.at, o.params, m)
		if o.handshake {
			o.welcome(m)
			continue
		}
		if len(o.pending) == 0 {
			if m.Kind == protocol.MessageLast {
				return errors.New("the daemon sends a reply without a request")
			}
			continue // a daemon may send an error twice
		}
		if err := o.message(s, o.pending[0], m, from); err != nil {
			return err
		}
	}
}

// readGreeting decodes the daemon's half of the handshake.
func (o *observer) readGreeting(s *stream) error {
	version, err := protocol.ReadHello(s.in, true)
	if err != nil {
		return err
	}
	o.daemonVersion = version
	if err := s.in.Peek(); err != nil {
		return err
	}
	if o.clientVersion == 0 {
		return errors.New("the daemon does not wait for the client's version")
	}
	h := &Handshake{ClientVersion: o.clientVersion.String(), DaemonVersion: version.String(), Trust: protocol.TrustUnknown.String()}
	params := protocol.Params{Version: min(o.clientVersion, version), Dir: o.m.storeDir()}
	h.Version = params.Version.String()
	if params.Version > protocol.MaxVersion {
		o.emit(&Event{Handshake: h})
		return fmt.Errorf("client and daemon speak %s of the protocol, newer than %s", params.Version, protocol.MaxVersion)
	}
	if params.Version >= protocol.FeatureVersion {
		if h.DaemonFeatures, err = protocol.ReadFeatureNames(s.in); err != nil {
			return err
		}
		h.ClientFeatures = o.clientFeatures
		var unknown []string
		if params.Features, unknown = common(h.ClientFeatures, h.DaemonFeatures); len(unknown) > 0 {
			o.emit(&Event{Handshake: h})
			return fmt.Errorf("client and daemon use features that are unknown: %s", strings.Join(unknown, " "))
		}
	}
	g := protocol.Greeting{DaemonVersion: version}
	if err := params.ReadGreeting(s.in, &g); err != nil {
		return err
	}
	h.Nix, h.Trust = g.NixVersion, g.Trust.String()
	o.params, o.greeted = params, true
	o.handshake = true
	o.record.greeting(s.at, params, g)
	o.greeting = h
	return nil
}

// welcome handles a message after the greeting.
func (o *observer) welcome(m protocol.Message) {
	switch m.Kind {
	case protocol.MessageError:
		o.greeting.Error = redact.Text(m.Err.Message)
	case protocol.MessageLast:
	default:
		return
	}
	o.handshake = false
	o.emit(&Event{Handshake: o.greeting})
}

// message handles a message for an operation.
func (o *observer) message(s *stream, op *operation, m protocol.Message, from int64) error {
	if op.Messages == 0 {
		op.began = from
	}
	op.Messages++
	switch m.Kind {
	case protocol.MessageRead:
		op.reads++
		return nil
	case protocol.MessageLog:
		op.Logs++
		return nil
	case protocol.MessageEvent:
		if result, ok := m.Event.(activity.Result); ok && isLogLine(result.Type) {
			op.Logs++
		}
		return nil
	case protocol.MessageError:
		op.Error = redact.Text(m.Err.Message)
	case protocol.MessageLast:
		if err := o.reply(s, op); err != nil {
			return err
		}
	default:
		return nil
	}
	op.Down = s.offset() - op.began
	o.pending = o.pending[1:]
	if !op.requested { // the daemon did not wait for the end of the body
		op.Up = o.streams[FromClient].offset() - op.from
	}
	o.report(op)
	return nil
}

func isLogLine(t activity.ResultType) bool {
	return t == activity.BuildLogLine || t == activity.PostBuildLogLine
}

// reply reads the reply after Last, and the archive after it.
func (o *observer) reply(s *stream, op *operation) error {
	s.endValue()
	from := s.offset()
	reply := protocol.NewReply(op.op)
	if err := o.params.ReadReply(s.in, op.op, reply); err != nil {
		return err
	}
	if size := s.offset() - from; size <= maxShown {
		op.Reply = shownFields(o.params.TraceReply(op.op, reply, shownBody))
	} else {
		op.Reply = fmt.Sprintf("(%d bytes)", size)
	}
	o.record.reply(s.at, o.params, op.op, reply)
	row, _ := protocol.Lookup(op.op)
	if !row.Archive {
		return nil
	}
	return o.skim(s, new(narSkimmer))
}
