package derivation

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"pix/internal/firstchar"
)

// A derivation contains bytes that need not be UTF-8. encoding/json replaces invalid UTF-8, rounds
// large numbers and does not keep the text of a number. The parser in this file keeps every byte, and
// the writer formats values as Nix does.

// A jsonKind is the kind of a JSON value.
type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

var jsonKinds = [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}

// A jsonValue is a parsed value. It is small, because a text can be a list of very many values.
type jsonValue struct {
	raw   string     // the text of the value
	inner *jsonInner // for an array or object
}

type jsonInner struct {
	list    []jsonValue
	members Map[string, jsonValue] // if a name occurs twice, the last member counts
}

func objectValue(members Map[string, jsonValue]) jsonValue {
	return jsonValue{raw: "{", inner: &jsonInner{members: members}}
}

func (v *jsonValue) kind() jsonKind {
	switch v.raw[0] {
	case 'n':
		return jsonNull
	case 't', 'f':
		return jsonBool
	case '"':
		return jsonString
	case '[':
		return jsonArray
	case '{':
		return jsonObject
	}
	return jsonNumber
}

// list returns the elements of an array, or nil for any other value.
func (v *jsonValue) list() []jsonValue {
	if v.inner == nil {
		return nil
	}
	return v.inner.list
}

// members returns the members of an object, or an empty map for any other value.
func (v *jsonValue) members() (m Map[string, jsonValue]) {
	if v.inner != nil {
		m = v.inner.members
	}
	return m
}

// text returns the contents of a string.
func (v *jsonValue) text() string {
	p := jsonParser{text: v.raw}
	s, err := p.string()
	if err != nil {
		panic(err) // the string was parsed before
	}
	return s
}

// A JSONError reports that a text is not JSON, or not the JSON of a derivation.
type JSONError struct {
	Offset int    // byte offset of the syntax error; -1 if the text is valid JSON
	Field  string // such as "outputs.out.hash"; "" for the whole text
	Reason string
}

func (e *JSONError) Error() string {
	s := "derivation in JSON"
	if e.Offset >= 0 {
		s += fmt.Sprintf(", offset %d", e.Offset)
	}
	if e.Field != "" {
		s += ", " + truncate(e.Field)
	}
	return s + ": " + e.Reason
}

// maxJSONDepth limits the nesting of arrays and objects, so that code that processes values may recurse.
const maxJSONDepth = 10_000

// parseJSON parses a text that is one JSON value. It keeps bytes of strings that are not UTF-8, unless
// requireUTF8 makes them an error.
func parseJSON(text string, requireUTF8 bool) (jsonValue, error) {
	p := jsonParser{text: text, requireUTF8: requireUTF8}
	p.space()
	value, err := p.value(0)
	if err != nil {
		return jsonValue{}, err
	}
	if p.space(); p.pos < len(text) {
		return jsonValue{}, p.fail("there is text after the value")
	}
	return value, nil
}

type jsonParser struct {
	text        string
	pos         int
	requireUTF8 bool
}

func (p *jsonParser) fail(reason string) error { return &JSONError{Offset: p.pos, Reason: reason} }

func (p *jsonParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *jsonParser) value(depth int) (v jsonValue, err error) {
	if p.pos == len(p.text) {
		return v, p.fail("the text ends where a value is expected")
	}
	if depth > maxJSONDepth {
		return v, p.fail(fmt.Sprintf("arrays and objects are nested more than %d deep", maxJSONDepth))
	}
	start := p.pos
	switch c := p.text[p.pos]; {
	case c == '{':
		v.inner, err = p.object(depth)
	case c == '[':
		v.inner, err = p.array(depth)
	case c == '"':
		_, err = p.string()
	case c == '-' || '0' <= c && c <= '9':
		err = p.number()
	default:
		err = p.word()
	}
	v.raw = p.text[start:p.pos]
	return v, err
}

// word reads null, true or false.
func (p *jsonParser) word() error {
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(p.text[p.pos:], word) {
			p.pos += len(word)
			return nil
		}
	}
	return p.fail("found " + firstchar.Quote(p.text[p.pos:]) + " where a value is expected")
}

func (p *jsonParser) array(depth int) (*jsonInner, error) {
	inner := &jsonInner{}
	err := p.elements(']', func() error {
		element, err := p.value(depth + 1)
		inner.list = append(inner.list, element)
		return err
	})
	return inner, err
}

func (p *jsonParser) object(depth int) (*jsonInner, error) {
	var members []Entry[string, jsonValue]
	err := p.elements('}', func() error {
		if p.pos == len(p.text) || p.text[p.pos] != '"' {
			return p.fail("a member of an object begins with its name in quotes")
		}
		name, err := p.string()
		if err != nil {
			return err
		}
		if p.space(); p.pos == len(p.text) || p.text[p.pos] != ':' {
			return p.fail("there is no colon after the name of a member")
		}
		p.pos++
		p.space()
		member, err := p.value(depth + 1)
		members = append(members, Entry[string, jsonValue]{name, member})
		return err
	})
	return &jsonInner{members: MapOf(members...)}, err
}

// elements reads elements separated by commas, from an opening bracket to end.
func (p *jsonParser) elements(end byte, read func() error) error {
	p.pos++
	if p.space(); p.pos < len(p.text) && p.text[p.pos] == end {
		p.pos++
		return nil
	}
	for {
		p.space()
		if err := read(); err != nil {
			return err
		}
		p.space()
		switch {
		case p.pos == len(p.text):
			return p.fail(fmt.Sprintf("the text ends where %q is expected", end))
		case p.text[p.pos] == end:
			p.pos++
			return nil
		case p.text[p.pos] != ',':
			return p.fail(fmt.Sprintf("found %q where a comma or %q is expected", p.text[p.pos], end))
		}
		p.pos++
	}
}

func (p *jsonParser) number() error {
	start := p.pos
	digits := func() bool {
		from := p.pos
		for p.pos < len(p.text) && '0' <= p.text[p.pos] && p.text[p.pos] <= '9' {
			p.pos++
		}
		return p.pos > from
	}
	next := func(any string) bool {
		if p.pos < len(p.text) && strings.IndexByte(any, p.text[p.pos]) >= 0 {
			p.pos++
			return true
		}
		return false
	}
	next("-")
	if !next("0") && !digits() || next(".") && !digits() {
		return p.fail("a digit of a number is missing")
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return p.fail("a digit of an exponent is missing")
		}
	}
	if f, err := strconv.ParseFloat(p.text[start:p.pos], 64); err != nil || math.IsInf(f, 0) {
		return p.fail("the number is too large")
	}
	return nil
}

// string reads a string. The result points into the text unless the string has escapes.
func (p *jsonParser) string() (string, error) {
	p.pos++
	start := p.pos
	var b []byte // the text before start, without escapes
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[start:p.pos]
			if b != nil {
				s = string(append(b, s...))
			}
			if p.requireUTF8 && !utf8.ValidString(s) {
				return "", p.fail("a string is not UTF-8")
			}
			p.pos++
			return s, nil
		case c < 0x20:
			return "", p.fail(fmt.Sprintf("the control character %q is not escaped", c))
		case c != '\\':
			p.pos++
		default:
			b = append(b, p.text[start:p.pos]...)
			var err error
			if b, err = p.unescape(b); err != nil {
				return "", err
			}
			start = p.pos
		}
	}
	return "", p.fail("the string does not end")
}

// unescape appends the meaning of the escape at p.pos.
func (p *jsonParser) unescape(b []byte) ([]byte, error) {
	if p.pos++; p.pos == len(p.text) {
		return nil, p.fail("the string does not end")
	}
	c := p.text[p.pos]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		p.pos++
		return append(b, "\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return nil, p.fail(fmt.Sprintf("unknown escape %q", c))
	}
	r, err := p.unicode()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(r) {
		var low rune
		if strings.HasPrefix(p.text[p.pos:], `\u`) {
			p.pos++
			if low, err = p.unicode(); err != nil {
				return nil, err
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return nil, p.fail("unpaired surrogate")
		}
	}
	return utf8.AppendRune(b, r), nil
}

// unicode reads the u and the four digits of an escape.
func (p *jsonParser) unicode() (rune, error) {
	p.pos++
	if len(p.text)-p.pos < 4 {
		return 0, p.fail("four hexadecimal digits are expected")
	}
	n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	if err != nil {
		return 0, p.fail("four hexadecimal digits are expected")
	}
	p.pos += 4
	return rune(n), nil
}
