package protocol

import (
	"errors"
	"fmt"
	"io"
	"math"

	"pix/activity"
	"pix/wire"
)

// A MessageKind is the word with which a message begins.
type MessageKind uint64

// The messages that a daemon sends between request and reply.
const (
	MessageLast  MessageKind = 0x616c7473 // the work is done; the reply follows
	MessageError MessageKind = 0x63787470 // the work failed; no reply follows
	MessageRead  MessageKind = 0x64617461 // the daemon wants bytes of the upload
	MessageWrite MessageKind = 0x64617416 // bytes of a download
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

// A Message is what a daemon says while it works.
type Message struct {
	Kind  MessageKind
	Event activity.Event  // of MessageLog, MessageStart, MessageStop and MessageEvent
	Err   *activity.Error // of MessageError
	Want  uint64          // of MessageRead: how many bytes at most
	Data  []byte          // of MessageWrite
}

// ReadMessage reads one message. An unknown kind is an [*Error], as what follows it
// cannot be known. At the end of the stream the error is io.EOF.
func (p Params) ReadMessage(r *wire.Reader) (Message, error) {
	at := r.Offset()
	kind, err := r.Uint64()
	if err == io.EOF {
		return Message{}, io.EOF
	}
	c := codec{Params: p, in: r, part: "message"}
	c.fail("kind", at, err)
	m := Message{Kind: MessageKind(kind)}
	if c.err == nil {
		c.part = m.Kind.part()
		m.code(&c)
	}
	return m, c.err
}

// part names the message in errors. It does not allocate for a known kind.
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

// AppendMessage appends one message to dst. The error is an [*Error] if a value is not
// valid, or an [*UnsupportedError] for an activity before 1.20; nothing is appended then.
func (p Params) AppendMessage(dst []byte, m Message) ([]byte, error) {
	c := codec{Params: p, out: wire.AppendUint64(dst, uint64(m.Kind)), part: m.Kind.part()}
	m.code(&c)
	if c.err != nil {
		return dst, c.err
	}
	return c.out, nil
}

// activityVersion is the version from which there are activities.
var activityVersion = MakeVersion(20)

// code codes what follows the kind.
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
			c.fail("kind", -1, &UnsupportedError{What: "telling of activities", Have: c.Version, Since: activityVersion})
		}
		m.codeActivity(c)
	default:
		c.fail("kind", c.offset(), fmt.Errorf("unknown message %#x", uint64(m.Kind)))
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

// event codes the event of a message, which must be an E.
func event[E activity.Event](c *codec, m *Message, code func(*E)) {
	var e E
	if c.encoding() {
		var ok bool
		if e, ok = m.Event.(E); !ok {
			c.fail("event", -1, fmt.Errorf("%T instead of %T", m.Event, e))
			return
		}
	}
	code(&e)
	if !c.encoding() {
		m.Event = e
	}
}

// logLine codes a line that has a line feed at its end on the wire, and none in an
// event.
func (c *codec) logLine(text *string) {
	line := *text
	if c.encoding() && c.trace == nil {
		line += "\n"
	}
	c.string("text", &line)
	if !c.encoding() {
		if n := len(line); c.trace == nil && n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		*text = line
	}
}

// fields codes the fields of an activity or a result. Each says whether it is a number
// (0) or a string (1).
func (c *codec) fields(fields *[]activity.Field) {
	limitedList(c, "fields", fields, maxFields, c.field)
}

func (c *codec) field(f *activity.Field) {
	if c.trace != nil {
		c.traceField(f)
		return
	}
	text, isText := f.Text()
	n, _ := f.Number()
	kind := uint64(0)
	if isText {
		kind = 1
	}
	if c.limited("kind of a field", &kind, 1); kind == 1 {
		c.string("field", &text)
	} else {
		c.uint64("field", &n)
	}
	if c.encoding() {
		return
	}
	if *f = activity.Number(n); kind == 1 {
		*f = activity.Text(text)
	}
}

// traceField codes a field of an activity in a trace: a string is always quoted there.
func (c *codec) traceField(f *activity.Field) {
	const field = "fields"
	text, isText := f.Text()
	n, _ := f.Number()
	switch {
	case !c.reading() && isText:
		c.showQuoted(field, text)
	case !c.reading():
		c.uint64(field, &n)
	case c.trace.nextIsQuoted():
		*f = activity.Text(c.take(field))
	default:
		c.uint64(field, &n)
		*f = activity.Number(n)
	}
}

// structuredErrors is the version from which errors have a level and traces; before,
// they have a message and an exit status.
var structuredErrors = MakeVersion(26)

func (c *codec) daemonError(err **activity.Error) {
	if !c.encoding() {
		*err = new(activity.Error)
	}
	e := *err
	if e == nil {
		c.fail("error", -1, errors.New("there is none"))
		return
	}
	if c.Version < structuredErrors {
		c.string("message", &e.Message)
		c.uint64("exit status", &e.Status)
		return
	}
	c.constant("type", "Error")
	number(c, "level", &e.Level, math.MaxUint32)
	c.ignored("name", "Error")
	c.string("message", &e.Message)
	c.noPosition()
	limitedList(c, "traces", &e.Traces, maxTraces, func(trace *string) {
		c.noPosition()
		c.string("traces", trace)
	})
}

// constant codes a name that is always the same.
func (c *codec) constant(field, want string) {
	at := c.offset()
	if got := c.ignored(field, want); c.err == nil && got != want {
		c.fail(field, at, fmt.Errorf("%q instead of %q", got, want))
	}
}

// ignored codes a name that is always sent the same and never looked at.
func (c *codec) ignored(field, name string) string {
	if c.trace == nil {
		c.name(field, &name)
	}
	return name
}

// noPosition codes the place for a position, which nobody sends and nobody could read.
func (c *codec) noPosition() {
	var have uint64
	if c.trace == nil {
		c.limited("position", &have, 0)
	}
}
