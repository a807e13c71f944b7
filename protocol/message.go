package protocol

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"pix/activity"
	"pix/wire"
)

// A MessageKind is the number at the start of a message.
type MessageKind uint64

// The messages that a daemon sends between a request and its reply.
const (
	MessageLast  MessageKind = 0x616c7473 // the work is done; the reply follows
	MessageError MessageKind = 0x63787470 // the work failed; no reply follows
	MessageRead  MessageKind = 0x64617461 // the daemon wants bytes of the upload
	MessageWrite MessageKind = 0x64617416 // some bytes of a download
	MessageLog   MessageKind = 0x6f6c6d67
	MessageStart MessageKind = 0x53545254
	MessageStop  MessageKind = 0x53544f50
	MessageEvent MessageKind = 0x52534c54 // a result of an activity
)

var messageNames = map[MessageKind]string{
	MessageLast: "Last", MessageError: "Error", MessageRead: "Read", MessageWrite: "Write",
	MessageLog: "Log", MessageStart: "StartActivity", MessageStop: "StopActivity", MessageEvent: "Result",
}

func (k MessageKind) String() string {
	if name, ok := messageNames[k]; ok {
		return name
	}
	return fmt.Sprintf("MessageKind(%#x)", uint64(k))
}

const (
	maxFields = 1024    // fields of an activity or a result
	maxTraces = 1 << 16 // traces of an error
)

// A Message is what a daemon sends while it works. Kind determines which other fields are set.
type Message struct {
	Kind  MessageKind
	Event activity.Event  // for MessageLog, MessageStart, MessageStop and MessageEvent
	Err   *activity.Error // for MessageError
	Want  uint64          // for MessageRead: the largest number of bytes to send
	Data  []byte          // for MessageWrite
}

// ReadMessage reads one message. At the end of the stream the error is io.EOF. An unknown kind
// is an [*Error]: the length of such a message is unknown, so the stream cannot be read any
// further.
func (p Params) ReadMessage(r *wire.Reader) (Message, error) {
	at := r.Offset()
	kind, err := r.Uint64()
	if err == io.EOF {
		return Message{}, io.EOF
	}
	m := Message{Kind: MessageKind(kind)}
	if m.Kind == MessageLast { // the most frequent message has no fields, so it needs no codec
		return m, nil
	}
	c := p.decoder(r, 0, m.Kind.part())
	c.failAt("kind", at, err)
	m.code(c)
	return m, c.err
}

// part names the message in error messages. A client receives many messages, so part does not
// allocate for a known kind.
func (k MessageKind) part() string {
	if part, ok := messageParts[k]; ok {
		return part
	}
	return "message"
}

var messageParts = func() map[MessageKind]string {
	parts := make(map[MessageKind]string, len(messageNames))
	for kind, name := range messageNames {
		parts[kind] = "message " + name
	}
	return parts
}()

// AppendMessage appends one message to dst. For an invalid value the error is an [*Error], for
// an activity before version 1.20 an [*UnsupportedError]. After an error dst is unchanged.
func (p Params) AppendMessage(dst []byte, m Message) ([]byte, error) {
	c, form := p.encoder(wire.AppendUint64(dst, uint64(m.Kind)), 0, m.Kind.part())
	if m.code(c); c.err != nil {
		return dst, c.err
	}
	return form.out, nil
}

// activityVersion is the first version that has activities.
var activityVersion = MakeVersion(20)

// code codes the rest of the message after its kind.
func (m *Message) code(c *codec) {
	switch m.Kind {
	case MessageLast:
	case MessageError:
		c.daemonError(&m.Err)
	case MessageRead:
		c.uint64("size", &m.Want)
	case MessageWrite:
		c.bytes("data", &m.Data)
	case MessageLog:
		event(c, m, func(log *activity.Log) { c.logLine(&log.Text) })
	case MessageStart, MessageStop, MessageEvent:
		if c.encoding() && c.Version < activityVersion {
			c.fail("kind", &UnsupportedError{What: "sending activities", Have: c.Version, Since: activityVersion})
		}
		m.codeActivity(c)
	default:
		c.failAt("kind", c.form.offset(), fmt.Errorf("unknown message %#x", uint64(m.Kind)))
	}
}

func (m *Message) codeActivity(c *codec) {
	switch m.Kind {
	case MessageStart:
		event(c, m, func(start *activity.Start) {
			number(c, "activity", &start.ID, math.MaxUint64)
			number(c, "level", &start.Level, math.MaxUint32)
			number(c, "type", &start.Type, math.MaxUint32)
			c.string("text", &start.Text)
			c.fields(&start.Fields)
			number(c, "parent", &start.Parent, math.MaxUint64)
		})
	case MessageStop:
		event(c, m, func(stop *activity.Stop) { number(c, "activity", &stop.ID, math.MaxUint64) })
	case MessageEvent:
		event(c, m, func(result *activity.Result) {
			number(c, "activity", &result.ID, math.MaxUint64)
			number(c, "type", &result.Type, math.MaxUint32)
			c.fields(&result.Fields)
		})
	}
}

// event codes the event of a message. Its type must be E.
func event[E activity.Event](c *codec, m *Message, code func(*E)) {
	var e E
	if c.encoding() {
		var ok bool
		if e, ok = m.Event.(E); !ok {
			c.fail("event", fmt.Errorf("%T instead of %T", m.Event, e))
			return
		}
	}
	code(&e)
	if !c.encoding() {
		m.Event = e
	}
}

// logLine codes a log line. On the wire it ends with a line feed, which an event does not have.
func (c *codec) logLine(text *string) {
	line := *text
	if c.encoding() && !c.form.isText() {
		line += "\n"
	}
	c.string("text", &line)
	if c.decoding {
		if !c.form.isText() {
			line = strings.TrimSuffix(line, "\n")
		}
		*text = line
	}
}

// fields codes the fields of an activity or a result.
func (c *codec) fields(fields *[]activity.Field) {
	limitedList(c, "fields", fields, maxFields, c.field)
}

func (c *codec) field(f *activity.Field) {
	if c.err == nil {
		got, err := c.form.event("fields", *f)
		assign(c, "fields", f, got, err)
	}
}

// structuredErrors is the first version in which an error has a level and traces. Before, it
// has a message and an exit status.
var structuredErrors = MakeVersion(26)

func (c *codec) daemonError(err **activity.Error) {
	if !c.encoding() {
		*err = new(activity.Error)
	}
	e := *err
	if e == nil {
		c.fail("error", errors.New("it is missing"))
		return
	}
	if c.Version < structuredErrors {
		c.string("message", &e.Message)
		c.uint64("exit status", &e.Status)
		return
	}
	c.constant("type", "Error")
	number(c, "level", &e.Level, math.MaxUint32)
	c.hiddenName("name", "Error")
	c.string("message", &e.Message)
	c.noPosition()
	limitedList(c, "traces", &e.Traces, maxTraces, func(trace *string) {
		c.noPosition()
		c.string("traces", trace)
	})
}

// noPosition codes that an error has no source position. No version of Nix sends one, and its
// format is not defined, so a position is an error.
func (c *codec) noPosition() {
	if c.err == nil {
		_, err := c.form.hiddenNumber(0, 0)
		c.fail("position", err)
	}
}
