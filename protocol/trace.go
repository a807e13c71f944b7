package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// A trace says how values are shown to people.
type trace struct {
	most    int    // bytes of a body to show; negative for all
	element string // the field whose name is not repeated, as an element of it follows
	first   bool   // nothing stands before the next field that it must be kept apart from
}

// TraceBody is the number of bytes of a body that a trace usually shows.
const TraceBody = 64

// TraceRequest returns a request as one line for people: the name of the operation and
// the fields in the order of the wire, such as
//
//	QueryValidPaths paths=[/nix/store/…-a, /nix/store/…-b] substitute=false
//
// Texts that may be long, such as log lines, contents and the values of settings, are
// shown up to that many bytes, all of them if most is negative; nothing else is cut.
// A request that cannot be sent ends with the reason in parentheses. The same value is
// the same line, always, but the form may change with a later version of pix.
func (p Params) TraceRequest(r Request, most int) string {
	c := p.newTrace(r.Op().String(), most)
	c.op, c.part = r.Op(), "request"
	r.code(&c)
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
	c.part = "message"
	m.code(&c)
	return c.line()
}

func (p Params) newTrace(begin string, most int) codec {
	return codec{Params: p, out: []byte(begin), trace: &trace{most: most}}
}

func (c *codec) line() string {
	if c.err != nil {
		return fmt.Sprintf("%s (%v)", c.out, c.err)
	}
	return string(c.out)
}

// show appends a field and its value. What has a space in it must be quoted already.
func (c *codec) show(field, value string) {
	if !c.trace.first {
		c.out = append(c.out, ' ')
	}
	c.trace.first = false
	if field != c.trace.element {
		c.out = append(c.out, strings.ReplaceAll(field, " ", "-")...)
		c.out = append(c.out, '=')
	}
	c.out = append(c.out, value...)
}

// showList appends a list of n elements, which show themselves.
func (c *codec) showList(field string, n int, element func(i int)) {
	if c.err != nil {
		return
	}
	c.show(field, "[")
	outer := c.trace.element
	c.trace.element = field
	for i := range n {
		if i > 0 {
			c.out = append(c.out, ", "...)
		}
		c.trace.first = true
		element(i)
	}
	c.trace.element, c.trace.first = outer, false
	c.out = append(c.out, ']')
}

// cut returns the beginning of a text, and how long it is if that is not all.
func (t *trace) cut(s string) string {
	if t.most < 0 || len(s) <= t.most {
		return quote(s)
	}
	return fmt.Sprintf("%s…(%d bytes)", strconv.Quote(s[:t.most]), len(s))
}

// quote returns a text as it is if it is plain, and quoted if not.
func quote(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"[],()`, c) >= 0 {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
