package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A trace is the text of a value for people, which is written, or read again. All its
// values are words, quoted where they are not plain, and lists of such.
type trace struct {
	element string // the field whose name is not repeated, as an element of it follows
	first   bool   // nothing stands before the next field that it must be kept apart from

	most int // writing: bytes of a body to show; negative for all

	reading bool
	text    string // what is read
	at      int    // how far it was read
	mark    int    // where the last value begins
}

// ErrTraceCut says that a text in a trace was cut, so that its value cannot be known.
var ErrTraceCut = errors.New("the text was cut")

// A TraceError says that a line is not one of a trace, or that what it shows cannot be
// sent.
type TraceError struct {
	Line   int    // in the file, from 1; 0 if there is none
	Column int    // in bytes, from 1
	What   string // the value at fault, such as "QueryPathInfo reply: references"
	Err    error  // what is wrong with it, or what was expected
}

func (e *TraceError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("trace, column %d, %s: %v", e.Column, e.What, e.Err)
	}
	return fmt.Sprintf("trace, line %d, column %d, %s: %v", e.Line, e.Column, e.What, e.Err)
}

// Unwrap returns what is wrong.
func (e *TraceError) Unwrap() error { return e.Err }

// newTrace returns a codec that writes a trace.
func (p Params) newTrace(begin string, most int) codec {
	return codec{Params: p, out: []byte(begin), trace: &trace{most: most}}
}

// readTrace returns a codec that reads a trace.
func (p Params) readTrace(line string) codec {
	return codec{Params: p, trace: &trace{reading: true, text: line}}
}

// reading reports whether the codec reads a trace.
func (c *codec) reading() bool { return c.trace != nil && c.trace.reading }

// line returns what was written.
func (c *codec) line() string {
	if c.err != nil {
		return fmt.Sprintf("%s (%v)", c.out, c.err)
	}
	return string(c.out)
}

// traced codes a value in a trace through its spelling there.
func traced[T any](c *codec, field string, v *T, print func(T) string, parse func(string) (T, error)) {
	if c.err != nil {
		return
	}
	if !c.reading() {
		c.show(field, quote(print(*v)))
		return
	}
	s := c.take(field)
	if c.err != nil {
		return
	}
	got, err := parse(s)
	*v = got
	c.fail(field, -1, err)
}

func printUint64(n uint64) string { return strconv.FormatUint(n, 10) }

// parseLimited returns what reads a number that is at most limit.
func parseLimited(limit uint64) func(string) (uint64, error) {
	return func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no number", s)
		}
		if n > limit {
			return 0, fmt.Errorf("%d is more than the limit of %d", n, limit)
		}
		return n, nil
	}
}

func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}

// mostNamed is more than any number that has a name.
const mostNamed = 256

// parseNumber returns what reads a number of type T by its name, if it has one.
func parseNumber[T ~uint8 | ~uint16 | ~uint32 | ~uint64](limit uint64) func(string) (T, error) {
	return func(s string) (T, error) {
		digits := s
		if i := strings.IndexByte(s, '('); i >= 0 { // Type(7) has no name
			digits = strings.TrimSuffix(s[i+1:], ")")
		}
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n <= limit && fmt.Sprint(T(n)) == s {
			return T(n), nil
		}
		for n := range min(limit, mostNamed-1) + 1 {
			if fmt.Sprint(T(n)) == s {
				return T(n), nil
			}
		}
		var zero T
		return zero, fmt.Errorf("%q is no number, and the name of none", s)
	}
}

// traceText codes a text of which only the beginning may be shown.
func (c *codec) traceText(field string, s *string) {
	if c.reading() {
		*s = c.take(field)
		return
	}
	c.show(field, c.trace.cut(*s, quote))
}

// showQuoted shows a text like [codec.traceText], but always quoted.
func (c *codec) showQuoted(field, s string) {
	if c.err == nil {
		c.show(field, c.trace.cut(s, strconv.Quote))
	}
}

// show appends a field and its value. What has a space in it must be quoted already.
func (c *codec) show(field, value string) {
	if !c.trace.first {
		c.out = append(c.out, ' ')
	}
	c.trace.first = false
	c.out = append(append(c.out, c.trace.label(field)...), value...)
}

// label returns what stands before a value.
func (t *trace) label(field string) string {
	if field == t.element {
		return ""
	}
	return strings.ReplaceAll(field, " ", "-") + "="
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

// cut returns a text as quote does, or its beginning, and how long it is, if it is long.
func (t *trace) cut(s string, quote func(string) string) string {
	if t.most < 0 || len(s) <= t.most {
		return quote(s)
	}
	return fmt.Sprintf("%s%s(%d bytes)", strconv.Quote(s[:t.most]), cutMark, len(s))
}

const cutMark = "…"

// quote returns a text as it is if it is plain, and quoted if not.
func quote(s string) string {
	if plainLen(s) < len(s) || s == "" {
		return strconv.Quote(s)
	}
	return s
}

// plainLen returns how much of a text need not be quoted.
func plainLen(s string) int {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"[],()`, c) >= 0 {
			return i
		}
	}
	return len(s)
}

// takeName takes the first word of a line.
func (c *codec) takeName() string {
	t := c.trace
	t.at = plainLen(t.text)
	return t.text[:t.at]
}

// skip passes over s, if it comes next.
func (t *trace) skip(s string) bool {
	if !strings.HasPrefix(t.text[t.at:], s) {
		return false
	}
	t.at += len(s)
	return true
}

// expect passes over s, which must come next.
func (c *codec) expect(field, s string) {
	if c.err == nil && !c.trace.skip(s) {
		c.trace.mark = c.trace.at
		c.fail(field, -1, fmt.Errorf("expected %q", s))
	}
}

// takeLabel takes what stands before a value.
func (c *codec) takeLabel(field string) {
	if !c.trace.first {
		c.expect(field, " ")
	}
	c.trace.first = false
	c.expect(field, c.trace.label(field))
	c.trace.mark = c.trace.at
}

// nextIsQuoted reports whether a quoted value comes next.
func (t *trace) nextIsQuoted() bool { return strings.HasPrefix(t.text[t.at:], `"`) }

// take takes a field and returns its value, "" after an error.
func (c *codec) take(field string) string {
	c.takeLabel(field)
	if c.err != nil {
		return ""
	}
	t := c.trace
	rest := t.text[t.at:]
	if !t.nextIsQuoted() {
		n := plainLen(rest)
		if n == 0 {
			c.fail(field, -1, errors.New("expected a value"))
		}
		t.at += n
		return rest[:n]
	}
	text, err := strconv.QuotedPrefix(rest)
	if err != nil {
		c.fail(field, -1, errors.New("expected a quoted text"))
		return ""
	}
	s, err := strconv.Unquote(text)
	c.fail(field, -1, err)
	if t.at += len(text); strings.HasPrefix(rest[len(text):], cutMark) {
		c.fail(field, -1, ErrTraceCut)
	}
	return s
}

// none reports whether it says next that the field is not there, and passes over it then.
func (c *codec) none(field string) bool {
	t := c.trace
	at := t.at
	if (t.first || t.skip(" ")) && t.skip(t.label(field)+noneWord) && plainLen(t.text[t.at:]) == 0 {
		t.first = false
		return c.err == nil
	}
	t.at = at
	return false
}

// noneWord stands for a value that is not there.
const noneWord = "none"

// takeList takes a list of at most limit elements, which take themselves.
func takeList[T any](c *codec, field string, l *[]T, limit uint64, element func(*T)) {
	*l = nil
	c.takeLabel(field)
	c.expect(field, "[")
	outer := c.trace.element
	c.trace.element = field
	var zero T
	for n := uint64(0); c.err == nil && !c.trace.skip("]"); n++ {
		if n > 0 {
			c.expect(field, ", ")
		}
		if n == limit {
			c.fail(field, -1, fmt.Errorf("more than %d elements", limit))
		}
		if c.err != nil {
			break
		}
		c.trace.first = true
		*l = append(*l, zero)
		element(&(*l)[len(*l)-1])
	}
	c.trace.element, c.trace.first = outer, false
}

// end reports whether the whole line was read without an error.
func (c *codec) end() bool {
	if t := c.trace; c.err == nil && t.at < len(t.text) {
		t.mark = t.at
		c.fail("end", -1, fmt.Errorf("expected the end of the line, not %s", abridge(t.text[t.at:])))
	}
	return c.err == nil
}

// cannotBe says of a value that was read why it cannot be sent, unless err is nil.
func (c *codec) cannotBe(err error) {
	c.trace.mark = 0
	c.fail("value", -1, err)
}

// abridge quotes the beginning of a text.
func abridge(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + cutMark
	}
	return strconv.Quote(s)
}
