package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// TraceBody is the number of bytes of a body that traces usually show.
const TraceBody = 64

// ErrTraceCut reports that a trace shows only the beginning of a text, so the value cannot be
// read from it.
var ErrTraceCut = errors.New("the text was cut")

// A TraceError reports a line that is not one of a trace, or that shows a value which cannot
// be sent.
type TraceError struct {
	Line   int    // in the file, from 1; 0 if unknown
	Column int    // in bytes, from 1
	What   string // the value with the error, such as "QueryPathInfo reply: references"
	Err    error  // the reason
}

func (e *TraceError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("trace, column %d, %s: %v", e.Column, e.What, e.Err)
	}
	return fmt.Sprintf("trace, line %d, column %d, %s: %v", e.Line, e.Column, e.What, e.Err)
}

// Unwrap returns e.Err.
func (e *TraceError) Unwrap() error { return e.Err }

// TraceRequest returns a request as one line for people: the name of the operation and
// the fields in the order of the wire, such as
//
//	QueryValidPaths paths=[/nix/store/…-a, /nix/store/…-b] substitute=false
//
// It shows at most the given number of bytes of each text that may be long, such as a log
// line, the contents of a file or the value of a setting. A negative number shows all of
// them. Other values are never cut. If the request cannot be sent, the line ends with the
// reason in parentheses. [Params.ParseTraceRequest] reads any other line in which nothing was
// cut. Equal requests have equal lines. A later version of pix may use another format.
func (p Params) TraceRequest(r Request, most int) string {
	c, form := p.traceEncoder(r.Op().String(), most)
	c.op, c.part = r.Op(), "request"
	r.code(c)
	if c.err == nil {
		c.err = p.Check(c.op)
	}
	return form.line(c.err)
}

// TraceReply returns a reply as [Params.TraceRequest] returns a request. The line begins with
// the name of the operation.
func (p Params) TraceReply(op Op, r Reply, most int) string {
	c, form := p.traceEncoder(op.String(), most)
	c.op, c.part = op, "reply"
	r.code(c)
	return form.line(c.err)
}

// TraceMessage returns a message as [Params.TraceRequest] returns a request. The line begins
// with the kind of the message.
func (p Params) TraceMessage(m Message, most int) string {
	c, form := p.traceEncoder(m.Kind.String(), most)
	c.part = m.Kind.part()
	m.code(c)
	return form.line(c.err)
}

// TraceGreeting returns the result of a handshake as [Params.TraceRequest] returns a request.
func (p Params) TraceGreeting(g Greeting) string {
	c, form := p.traceEncoder(greetingName, -1)
	c.part = greetingName
	c.traceGreeting(&p, &g)
	return form.line(c.err)
}

// TraceData returns a piece of the body that follows a request or a reply, as
// [Params.TraceRequest] returns a request.
func TraceData(b []byte, most int) string {
	c, form := Params{}.traceEncoder(dataName, most)
	c.bytes("data", &b)
	return form.line(c.err)
}

// TraceClosed returns a line that says which side ended a connection, and why.
func TraceClosed(byDaemon bool, why string) string {
	c, form := Params{}.traceEncoder(closedName, -1)
	c.traceClosed(&byDaemon, &why)
	return form.line(c.err)
}

// The first words of lines that show neither an operation nor a message.
const (
	greetingName = "greeting"
	dataName     = "body"
	closedName   = "closed"
)

// ParseTraceRequest reads a line of [Params.TraceRequest] in which nothing was cut. It accepts
// only requests that [Params.AppendRequest] accepts. Errors are of type [*TraceError].
func (p Params) ParseTraceRequest(line string) (Request, error) {
	c, form := p.traceDecoder(line)
	row := c.traceOperation(form)
	if c.err != nil {
		return nil, c.err
	}
	c.op, c.part = row.Op, "request"
	r := row.request()
	if r.code(c); c.traceEnd(form) {
		_, err := p.AppendRequest(nil, r)
		c.cannotSend(form, err)
	}
	if c.err != nil {
		return nil, c.err
	}
	return r, nil
}

// ParseTraceReply reads a line of [Params.TraceReply], like [Params.ParseTraceRequest].
func (p Params) ParseTraceReply(line string) (Op, Reply, error) {
	c, form := p.traceDecoder(line)
	row := c.traceOperation(form)
	if c.err != nil {
		return 0, nil, c.err
	}
	c.op, c.part = row.Op, "reply"
	r := row.reply()
	if r.code(c); c.traceEnd(form) {
		_, err := p.AppendReply(nil, c.op, r)
		c.cannotSend(form, errors.Join(p.Check(c.op), err))
	}
	if c.err != nil {
		return 0, nil, c.err
	}
	return c.op, r, nil
}

// ParseTraceMessage reads a line of [Params.TraceMessage], like [Params.ParseTraceRequest].
func (p Params) ParseTraceMessage(line string) (Message, error) {
	c, form := p.traceDecoder(line)
	m := Message{Kind: c.traceKind(form)}
	if c.err == nil {
		c.part = m.Kind.part()
		if m.code(c); c.traceEnd(form) {
			_, err := p.AppendMessage(nil, m)
			c.cannotSend(form, err)
		}
	}
	if c.err != nil {
		return Message{}, c.err
	}
	return m, nil
}

// ParseTraceGreeting reads a line of [Params.TraceGreeting], like [Params.ParseTraceRequest].
func ParseTraceGreeting(line string) (Params, Greeting, error) {
	var p Params
	var g Greeting
	c, form := p.traceDecoder(line)
	c.expectWord(form, greetingName)
	c.traceGreeting(&p, &g)
	if !c.traceEnd(form) {
		return Params{}, Greeting{}, c.err
	}
	return p, g, nil
}

// ParseTraceData reads a line of [TraceData], like [Params.ParseTraceRequest].
func ParseTraceData(line string) ([]byte, error) {
	c, form := Params{}.traceDecoder(line)
	c.expectWord(form, dataName)
	var b []byte
	c.bytes("data", &b)
	if !c.traceEnd(form) {
		return nil, c.err
	}
	return b, nil
}

// ParseTraceClosed reads a line of [TraceClosed], like [Params.ParseTraceRequest].
func ParseTraceClosed(line string) (byDaemon bool, why string, err error) {
	c, form := Params{}.traceDecoder(line)
	c.expectWord(form, closedName)
	c.traceClosed(&byDaemon, &why)
	if !c.traceEnd(form) {
		return false, "", c.err
	}
	return byDaemon, why, nil
}

func (c *codec) traceClosed(byDaemon *bool, why *string) {
	text(c, "by", byDaemon, printSide, parseSide)
	c.string("why", why)
}

func printSide(daemon bool) string {
	if daemon {
		return "daemon"
	}
	return "client"
}

func parseSide(s string) (daemon bool, err error) {
	if s != "daemon" && s != "client" {
		err = fmt.Errorf("%q is neither daemon nor client", s)
	}
	return s == "daemon", err
}

// traceOperation reads the name of an operation at the start of a line.
func (c *codec) traceOperation(form *textDecoder) *Operation {
	c.part = "operation"
	name := form.firstWord()
	i := slices.IndexFunc(table, func(row Operation) bool { return row.Name == name })
	if i < 0 {
		c.fail("name", fmt.Errorf("%q is not the name of an operation", name))
		return nil
	}
	return &table[i]
}

// traceKind reads the kind of a message at the start of a line.
func (c *codec) traceKind(form *textDecoder) MessageKind {
	c.part = "message"
	name := form.firstWord()
	for kind, known := range messageNames {
		if known == name {
			return kind
		}
	}
	c.fail("kind", fmt.Errorf("%q is not a kind of message", name))
	return 0
}

// expectWord reads the first word of a line, which must be want.
func (c *codec) expectWord(form *textDecoder, want string) {
	c.part = want
	if got := form.firstWord(); got != want {
		c.fail("name", fmt.Errorf("%q instead of %q", got, want))
	}
}

// traceEnd reports whether the whole line was read without an error.
func (c *codec) traceEnd(form *textDecoder) bool {
	if c.err == nil {
		c.fail("end", form.expectEnd())
	}
	return c.err == nil
}

// cannotSend records the reason why a value that was read cannot be sent, if err is not nil.
func (c *codec) cannotSend(form *textDecoder, err error) {
	form.start = 0
	c.fail("value", err)
}

// traceGreeting codes the result of a handshake. The wire has no such value.
func (c *codec) traceGreeting(p *Params, g *Greeting) {
	text(c, "version", &g.DaemonVersion, Version.String, parseVersion)
	text(c, "negotiated", &p.Version, Version.String, parseNegotiated)
	names := p.Features.Names()
	limitedList(c, "features", &names, maxFeatures, func(name *string) { c.name("features", name) })
	text(c, "store-dir", &p.Dir, func(d storepath.Dir) string { return string(d) }, storepath.ParseDir)
	c.name("nix", &g.NixVersion)
	number(c, "trust", &g.Trust, uint64(NotTrusted))
	if c.encoding() || c.err != nil {
		return
	}
	if p.Features = featuresOf(names); len(p.Features.Names()) != len(names) {
		c.fail("features", fmt.Errorf("only these of the features %s are known: %s", strings.Join(names, " "), p.Features))
	}
}

// parseVersion reads the version of a daemon, which may be newer than MaxVersion.
func parseVersion(s string) (Version, error) {
	for v := MinVersion; v.Major() == MaxVersion.Major(); v++ {
		if v.String() == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%q is not a version from %s on", s, MinVersion)
}

// parseNegotiated reads a version that pix can speak.
func parseNegotiated(s string) (Version, error) {
	v, err := parseVersion(s)
	if err == nil && v > MaxVersion {
		err = fmt.Errorf("%s is newer than %s, the newest supported version", s, MaxVersion)
	}
	return v, err
}
