package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// TraceBody is the number of bytes of a body that a trace usually shows.
const TraceBody = 64

// TraceRequest returns a request as one line for people: the name of the operation and
// the fields in the order of the wire, such as
//
//	QueryValidPaths paths=[/nix/store/…-a, /nix/store/…-b] substitute=false
//
// Texts that may be long, such as log lines, contents and the values of settings, are
// shown up to that many bytes, all of them if most is negative; nothing else is cut. A
// request that cannot be sent ends with the reason in parentheses. All others, with
// nothing cut, can be read again ([Params.ParseTraceRequest]). The same value is the same
// line, always, but the form may change with a later version of pix.
func (p Params) TraceRequest(r Request, most int) string {
	c := p.newTrace(r.Op().String(), most)
	c.op, c.part = r.Op(), "request"
	r.code(&c)
	if c.err == nil {
		c.err = p.Check(c.op)
	}
	return c.line()
}

// TraceReply returns a reply like [Params.TraceRequest]. It begins with the name of the
// operation.
func (p Params) TraceReply(op Op, r Reply, most int) string {
	c := p.newTrace(op.String(), most)
	c.op, c.part = op, "reply"
	r.code(&c)
	return c.line()
}

// TraceMessage returns a message like [Params.TraceRequest]. It begins with the kind of
// the message.
func (p Params) TraceMessage(m Message, most int) string {
	c := p.newTrace(m.Kind.String(), most)
	c.part = m.Kind.part()
	m.code(&c)
	return c.line()
}

// TraceGreeting returns what was agreed on in the handshake, like [Params.TraceRequest].
func (p Params) TraceGreeting(g Greeting) string {
	c := p.newTrace(greetingName, -1)
	c.part = greetingName
	c.traceGreeting(&p, &g)
	return c.line()
}

// TraceData returns a piece of what follows a request or a reply, like
// [Params.TraceRequest].
func TraceData(b []byte, most int) string {
	c := Params{}.newTrace(dataName, most)
	c.bytes("data", &b)
	return c.line()
}

// TraceClosed returns who ended a connection and why, like [Params.TraceRequest].
func TraceClosed(byDaemon bool, why string) string {
	c := Params{}.newTrace(closedName, -1)
	c.traceClosed(&byDaemon, &why)
	return c.line()
}

// The first words of lines that are neither of an operation nor of a message.
const (
	greetingName = "greeting"
	dataName     = "body"
	closedName   = "closed"
)

// ParseTraceRequest reads what [Params.TraceRequest] returns with nothing cut. The value
// is one that [Params.AppendRequest] takes. The error is a [*TraceError].
func (p Params) ParseTraceRequest(line string) (Request, error) {
	c := p.readTrace(line)
	row := c.operation()
	if c.err != nil {
		return nil, c.err
	}
	c.op, c.part = row.Op, "request"
	r := row.request()
	if r.code(&c); c.end() {
		_, err := p.AppendRequest(nil, r)
		c.cannotBe(err)
	}
	if c.err != nil {
		return nil, c.err
	}
	return r, nil
}

// ParseTraceReply reads what [Params.TraceReply] returns, like [Params.ParseTraceRequest].
func (p Params) ParseTraceReply(line string) (Op, Reply, error) {
	c := p.readTrace(line)
	row := c.operation()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.op, c.part = row.Op, "reply"
	r := row.reply()
	if r.code(&c); c.end() {
		_, err := p.AppendReply(nil, c.op, r)
		c.cannotBe(errors.Join(p.Check(c.op), err))
	}
	if c.err != nil {
		return 0, nil, c.err
	}
	return c.op, r, nil
}

// ParseTraceMessage reads what [Params.TraceMessage] returns, like
// [Params.ParseTraceRequest].
func (p Params) ParseTraceMessage(line string) (Message, error) {
	c := p.readTrace(line)
	m := Message{Kind: c.messageKind()}
	if c.err == nil {
		c.part = m.Kind.part()
		if m.code(&c); c.end() {
			_, err := p.AppendMessage(nil, m)
			c.cannotBe(err)
		}
	}
	if c.err != nil {
		return Message{}, c.err
	}
	return m, nil
}

// ParseTraceGreeting reads what [Params.TraceGreeting] returns, like
// [Params.ParseTraceRequest].
func ParseTraceGreeting(line string) (Params, Greeting, error) {
	var p Params
	var g Greeting
	c := p.readTrace(line)
	c.part = greetingName
	c.nameIs(greetingName)
	c.traceGreeting(&p, &g)
	if !c.end() {
		return Params{}, Greeting{}, c.err
	}
	return p, g, nil
}

// ParseTraceData reads what [TraceData] returns, like [Params.ParseTraceRequest].
func ParseTraceData(line string) ([]byte, error) {
	c := Params{}.readTrace(line)
	c.part = dataName
	c.nameIs(dataName)
	var b []byte
	c.bytes("data", &b)
	if !c.end() {
		return nil, c.err
	}
	return b, nil
}

// ParseTraceClosed reads what [TraceClosed] returns, like [Params.ParseTraceRequest].
func ParseTraceClosed(line string) (byDaemon bool, why string, err error) {
	c := Params{}.readTrace(line)
	c.part = closedName
	c.nameIs(closedName)
	c.traceClosed(&byDaemon, &why)
	if !c.end() {
		return false, "", c.err
	}
	return byDaemon, why, nil
}

func (c *codec) traceClosed(byDaemon *bool, why *string) {
	traced(c, "by", byDaemon, printSide, parseSide)
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

// operation takes the name of an operation from the beginning of a line.
func (c *codec) operation() *Operation {
	c.part = "operation"
	name := c.takeName()
	i := slices.IndexFunc(table, func(row Operation) bool { return row.Name == name })
	if i < 0 {
		c.fail("name", -1, fmt.Errorf("%q is none", name))
		return nil
	}
	return &table[i]
}

// messageKind takes the kind of a message from the beginning of a line.
func (c *codec) messageKind() MessageKind {
	c.part = "message"
	name := c.takeName()
	for kind, known := range messageNames {
		if known == name {
			return kind
		}
	}
	c.fail("kind", -1, fmt.Errorf("%q is none", name))
	return 0
}

// nameIs takes the beginning of a line, which must be that.
func (c *codec) nameIs(want string) {
	if got := c.takeName(); got != want {
		c.fail("name", -1, fmt.Errorf("%q instead of %q", got, want))
	}
}

// traceGreeting codes what the handshake came to, which the wire has in other words.
func (c *codec) traceGreeting(p *Params, g *Greeting) {
	traced(c, "version", &g.DaemonVersion, Version.String, parseVersion)
	traced(c, "negotiated", &p.Version, Version.String, parseSpoken)
	names := p.Features.Names()
	limitedList(c, "features", &names, maxFeatures, func(name *string) { c.name("features", name) })
	traced(c, "store-dir", &p.Dir, func(d storepath.Dir) string { return string(d) }, storepath.ParseDir)
	c.name("nix", &g.NixVersion)
	number(c, "trust", &g.Trust, uint64(NotTrusted))
	if !c.reading() || c.err != nil {
		return
	}
	if p.Features = featuresOf(names); len(p.Features.Names()) != len(names) {
		c.fail("features", -1, fmt.Errorf("of %s only %s are known", strings.Join(names, " "), p.Features))
	}
}

// parseVersion reads the version of a daemon, which may be newer than ours.
func parseVersion(s string) (Version, error) {
	for v := MinVersion; v.Major() == MaxVersion.Major(); v++ {
		if v.String() == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%q is no version from %s on", s, MinVersion)
}

// parseSpoken reads a version that is spoken.
func parseSpoken(s string) (Version, error) {
	v, err := parseVersion(s)
	if err == nil && v > MaxVersion {
		err = fmt.Errorf("%s is newer than %s, the newest that is spoken", s, MaxVersion)
	}
	return v, err
}
