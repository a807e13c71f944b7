package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pix/activity"
	"pix/nixhash"
)

// labels are the names of the fields in a trace. A value is preceded by a space and the label
// of its field. Both encoder and decoder keep track of them.
type labels struct {
	omitted string // the field of a list: its elements have no label of their own
	first   bool   // the next field is the first of a list element: no space precedes it
}

// label returns the text before a value.
func (l *labels) label(field string) string {
	if field == l.omitted {
		return ""
	}
	return strings.ReplaceAll(field, " ", "-") + "="
}

const (
	noneWord = "none" // the value of an optional field that is missing
	cutMark  = "…"    // follows a text that was cut
)

// quote returns a plain text as it is, and quotes any other.
func quote(s string) string {
	if plainLen(s) < len(s) || s == "" {
		return strconv.Quote(s)
	}
	return s
}

// plainLen returns the length of the part of a text, from its start, that needs no quotes.
func plainLen(s string) int {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"[],()`, c) >= 0 {
			return i
		}
	}
	return len(s)
}

// A textEncoder appends values to a line of a trace.
type textEncoder struct {
	labels
	out  []byte
	most int // how many bytes of a long text are shown; all if negative
}

// lineSize is the capacity in bytes of a new line. Most lines fit into it.
const lineSize = 384

// traceEncoder returns a codec that appends to a line, and its form, which holds the line.
func (p Params) traceEncoder(line string, most int) (*codec, *textEncoder) {
	form := &textEncoder{out: append(make([]byte, 0, lineSize), line...), most: most}
	return &codec{Params: p, form: form}, form
}

// line returns the line, with the error of the codec in parentheses.
func (e *textEncoder) line(err error) string {
	if err != nil {
		return fmt.Sprintf("%s (%v)", e.out, err)
	}
	return string(e.out)
}

func (*textEncoder) isText() bool  { return true }
func (*textEncoder) offset() int64 { return -1 }

func (*textEncoder) locate(what string, _ int64, err error) error { return encodingError(what, err) }

// show appends a field and its value, which must be quoted if that is necessary.
func (e *textEncoder) show(field, value string) {
	if !e.first {
		e.out = append(e.out, ' ')
	}
	e.first = false
	if field != e.omitted { // the label, without an allocation
		at := len(e.out)
		e.out = append(append(e.out, field...), '=')
		for i := at; i < at+len(field); i++ {
			if e.out[i] == ' ' {
				e.out[i] = '-'
			}
		}
	}
	e.out = append(e.out, value...)
}

// cut quotes a text with quote. It cuts a long text, and appends its length.
func (e *textEncoder) cut(s string, quote func(string) string) string {
	if e.most < 0 || len(s) <= e.most {
		return quote(s)
	}
	return fmt.Sprintf("%s%s(%d bytes)", strconv.Quote(s[:e.most]), cutMark, len(s))
}

func (e *textEncoder) number(field string, n, limit uint64, names namer) (uint64, error) {
	if n > limit {
		return n, overLimit(n, limit)
	}
	text := strconv.FormatUint(n, 10)
	if names != nil {
		text = names.nameOf(n)
	}
	e.show(field, quote(text))
	return n, nil
}

func (e *textEncoder) bool(field string, b bool) (bool, error) {
	e.show(field, strconv.FormatBool(b))
	return b, nil
}

func (e *textEncoder) tag(field string, b bool) (bool, error) { return e.bool(field, b) }

func (e *textEncoder) optional(field string, present bool) (bool, error) {
	if !present {
		e.show(field, noneWord)
	}
	return present, nil
}

func (e *textEncoder) name(field, s string, limit int) (string, error) {
	if len(s) > limit {
		return s, tooLong(len(s), limit)
	}
	e.show(field, quote(s))
	return s, nil
}

func (e *textEncoder) string(field, s string) (string, error) {
	e.show(field, e.cut(s, quote))
	return s, nil
}

func (e *textEncoder) bytes(field string, b []byte) ([]byte, error) {
	_, err := e.string(field, string(b))
	return b, err
}

func (e *textEncoder) hash(field string, h nixhash.Hash) (nixhash.Hash, error) {
	e.show(field, quote(h.Base16()))
	return h, nil
}

// event always quotes a string, so that a decoder can distinguish it from a number.
func (e *textEncoder) event(field string, f activity.Field) (activity.Field, error) {
	if text, ok := f.Text(); ok {
		e.show(field, e.cut(text, strconv.Quote))
		return f, nil
	}
	n, _ := f.Number()
	e.show(field, strconv.FormatUint(n, 10))
	return f, nil
}

func (*textEncoder) hiddenNumber(n, _ uint64) (uint64, error) { return n, nil }
func (*textEncoder) hiddenName(s string) (string, error)      { return s, nil }

func (e *textEncoder) openList(field string, n, _ uint64) (listState, error) {
	e.show(field, "[")
	l := listState{size: n, outer: e.omitted}
	e.omitted = field
	return l, nil
}

func (e *textEncoder) next(l listState, i uint64) (bool, error) {
	if i > 0 {
		e.out = append(e.out, ", "...)
	}
	e.first = true
	return i < l.size, nil
}

func (e *textEncoder) closeList(l listState) {
	e.omitted, e.first = l.outer, false
	e.out = append(e.out, ']')
}

// A textDecoder reads values from a line of a trace.
type textDecoder struct {
	labels
	text  string
	at    int // the position of the next field
	start int // the position of the last value
}

// traceDecoder returns a codec that reads from a line, and its form.
func (p Params) traceDecoder(line string) (*codec, *textDecoder) {
	form := &textDecoder{text: line}
	return &codec{Params: p, form: form, decoding: true}, form
}

func (*textDecoder) isText() bool    { return true }
func (d *textDecoder) offset() int64 { return int64(d.at) }

func (d *textDecoder) locate(what string, _ int64, err error) error {
	return &TraceError{Column: d.start + 1, What: what, Err: err}
}

// firstWord reads the first word of the line.
func (d *textDecoder) firstWord() string {
	d.at = plainLen(d.text)
	return d.text[:d.at]
}

// skip skips s and reports whether the text had it.
func (d *textDecoder) skip(s string) bool {
	if !strings.HasPrefix(d.text[d.at:], s) {
		return false
	}
	d.at += len(s)
	return true
}

// expect skips s. Any other text is an error.
func (d *textDecoder) expect(s string) error {
	if d.skip(s) {
		return nil
	}
	d.start = d.at
	return fmt.Errorf("expected %q", s)
}

// expectLabel skips the label of a field.
func (d *textDecoder) expectLabel(field string) error {
	if !d.first {
		if err := d.expect(" "); err != nil {
			return err
		}
	}
	d.first = false
	err := d.expect(d.label(field))
	d.start = d.at
	return err
}

// expectEnd returns an error if the line has more text.
func (d *textDecoder) expectEnd() error {
	if d.at == len(d.text) {
		return nil
	}
	d.start = d.at
	return fmt.Errorf("expected the end of the line, not %s", abridge(d.text[d.at:]))
}

// abridge quotes the beginning of a text.
func abridge(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + cutMark
	}
	return strconv.Quote(s)
}

// nextIsQuoted reports whether the next value has quotes.
func (d *textDecoder) nextIsQuoted() bool { return strings.HasPrefix(d.text[d.at:], `"`) }

// value reads a field and returns its value without quotes.
func (d *textDecoder) value(field string) (string, error) {
	if err := d.expectLabel(field); err != nil {
		return "", err
	}
	rest := d.text[d.at:]
	if d.nextIsQuoted() {
		return d.quoted(rest)
	}
	n := plainLen(rest)
	if n == 0 {
		return "", errors.New("expected a value")
	}
	d.at += n
	return rest[:n], nil
}

func (d *textDecoder) quoted(rest string) (string, error) {
	text, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", errors.New("expected a quoted text")
	}
	if d.at += len(text); strings.HasPrefix(rest[len(text):], cutMark) {
		return "", ErrTraceCut
	}
	return strconv.Unquote(text)
}

func (d *textDecoder) number(field string, _, limit uint64, names namer) (uint64, error) {
	s, err := d.value(field)
	if err != nil {
		return 0, err
	}
	if names != nil {
		return parseNamed(s, limit, names)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	if n > limit {
		return 0, overLimit(n, limit)
	}
	return n, nil
}

// mostNamed is larger than every number that has a name.
const mostNamed = 256

// parseNamed returns the number with the given name.
func parseNamed(s string, limit uint64, names namer) (uint64, error) {
	digits := s
	if i := strings.IndexByte(s, '('); i >= 0 { // a number without a name is shown as in Type(7)
		digits = strings.TrimSuffix(s[i+1:], ")")
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n <= limit && names.nameOf(n) == s {
		return n, nil
	}
	for n := range min(limit, mostNamed-1) + 1 {
		if names.nameOf(n) == s {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is neither a number nor a known name", s)
}

func (d *textDecoder) bool(field string, _ bool) (bool, error) {
	s, err := d.value(field)
	if err == nil && s != "true" && s != "false" {
		err = fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", err
}

func (d *textDecoder) tag(field string, b bool) (bool, error) { return d.bool(field, b) }

// optional skips the word that stands for a missing value. Any other text is the value.
func (d *textDecoder) optional(field string, _ bool) (bool, error) {
	at := d.at
	if (d.first || d.skip(" ")) && d.skip(d.label(field)+noneWord) && plainLen(d.text[d.at:]) == 0 {
		d.first = false
		return false, nil
	}
	d.at = at
	return true, nil
}

func (d *textDecoder) name(field, _ string, _ int) (string, error) { return d.value(field) }
func (d *textDecoder) string(field, _ string) (string, error)      { return d.value(field) }
func (*textDecoder) hiddenNumber(n, _ uint64) (uint64, error)      { return n, nil }
func (*textDecoder) hiddenName(s string) (string, error)           { return s, nil }

func (d *textDecoder) bytes(field string, _ []byte) ([]byte, error) {
	s, err := d.value(field)
	return []byte(s), err
}

func (d *textDecoder) hash(field string, _ nixhash.Hash) (nixhash.Hash, error) {
	s, err := d.value(field)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return parseNARHash(s)
}

func (d *textDecoder) event(field string, _ activity.Field) (activity.Field, error) {
	if d.nextIsQuoted() {
		s, err := d.value(field)
		return activity.Text(s), err
	}
	n, err := d.number(field, 0, 1<<64-1, nil)
	return activity.Number(n), err
}

func (d *textDecoder) openList(field string, _, limit uint64) (listState, error) {
	l := listState{size: limit, outer: d.omitted}
	err := d.expectLabel(field)
	if err == nil {
		err = d.expect("[")
	}
	d.omitted = field
	return l, err
}

func (d *textDecoder) next(l listState, i uint64) (bool, error) {
	if d.skip("]") {
		return false, nil
	}
	if i > 0 {
		if err := d.expect(", "); err != nil {
			return false, err
		}
	}
	if i == l.size {
		return false, fmt.Errorf("more than %d elements", l.size)
	}
	d.first = true
	return true, nil
}

func (d *textDecoder) closeList(l listState) { d.omitted, d.first = l.outer, false }
