package derivation

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Derivations hold bytes, and JSON holds text; encoding/json replaces what is not
// UTF-8, rounds large numbers and forgets how a number was written. So there is a
// small reader here that keeps every byte, and a writer that spells values as Nix
// does.

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

// A jsonValue is a value that was read. It is small, since a text can be a list of
// very many.
type jsonValue struct {
	raw   string     // how the value was written
	inner *jsonInner // of an array or object
}

type jsonInner struct {
	list    []jsonValue
	members Map[string, jsonValue] // of two with one name the last
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

// list returns the elements of an array; none of anything else.
func (v *jsonValue) list() []jsonValue {
	if v.inner == nil {
		return nil
	}
	return v.inner.list
}

// members returns the members of an object; none of anything else.
func (v *jsonValue) members() (m Map[string, jsonValue]) {
	if v.inner != nil {
		m = v.inner.members
	}
	return m
}

// text returns what a string says.
func (v *jsonValue) text() string {
	p := jsonParser{text: v.raw}
	s, err := p.string()
	if err != nil {
		panic(err) // it was read before
	}
	return s
}

// A JSONError says that a text is not JSON, or not that of a derivation.
type JSONError struct {
	Offset int    // of the byte at fault; -1 where the text is JSON, but not the right one
	Field  string // such as "outputs.out.hash"; "" for the whole
	Reason string
}

func (e *JSONError) Error() string {
	s := "derivation in JSON"
	if e.Offset >= 0 {
		s += fmt.Sprintf(", offset %d", e.Offset)
	}
	if e.Field != "" {
		s += ", " + abridge(e.Field)
	}
	return s + ": " + e.Reason
}

// maxJSONDepth bounds how deep arrays and objects may be nested, so that those who
// work on values may recurse.
const maxJSONDepth = 10_000

// parseJSON reads a text that is one JSON value. Bytes of strings that are not UTF-8
// are kept as they are, unless the text must be UTF-8.
func parseJSON(text string, mustBeUTF8 bool) (jsonValue, error) {
	p := jsonParser{text: text, strict: mustBeUTF8}
	p.space()
	value, err := p.value(0)
	if err != nil {
		return jsonValue{}, err
	}
	if p.space(); p.pos < len(text) {
		return jsonValue{}, p.fail("something follows the value")
	}
	return value, nil
}

type jsonParser struct {
	text   string
	pos    int
	strict bool
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
	return p.fail(fmt.Sprintf("found %q where a value is expected", p.text[p.pos]))
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

// elements reads what stands between an opening bracket and end, separated by commas.
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

// string reads a string, and returns a part of the text if nothing in it is escaped.
func (p *jsonParser) string() (string, error) {
	p.pos++
	start := p.pos
	var b []byte // what was unescaped
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[start:p.pos]
			if b != nil {
				s = string(append(b, s...))
			}
			if p.strict && !utf8.ValidString(s) {
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
	return "", p.fail("a string has no end")
}

// unescape appends what the escape at p.pos stands for.
func (p *jsonParser) unescape(b []byte) ([]byte, error) {
	if p.pos++; p.pos == len(p.text) {
		return nil, p.fail("a string has no end")
	}
	c := p.text[p.pos]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		p.pos++
		return append(b, "\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return nil, p.fail(fmt.Sprintf("%q is no escape", c))
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
			return nil, p.fail("a surrogate is not one of a pair")
		}
	}
	return utf8.AppendRune(b, r), nil
}

// unicode reads the u and the four digits after it.
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

// append appends v as Nix 2.34 spells it: without spaces, members sorted by the bytes
// of their names, floating-point numbers in their shortest form.
func (v *jsonValue) append(dst []byte) []byte {
	switch v.kind() {
	case jsonNull, jsonBool:
		return append(dst, v.raw...)
	case jsonNumber:
		return appendJSONNumber(dst, v.raw)
	case jsonString:
		return appendJSONString(dst, v.text())
	case jsonArray:
		dst = append(dst, '[')
		for i := range v.inner.list {
			dst = v.inner.list[i].append(appendComma(dst, i))
		}
		return append(dst, ']')
	case jsonObject:
		dst = append(dst, '{')
		for i := range v.inner.members.entries {
			e := &v.inner.members.entries[i]
			dst = appendJSONString(appendComma(dst, i), e.Key)
			dst = append(dst, ':')
			dst = e.Value.append(dst)
		}
		return append(dst, '}')
	}
	panic("derivation: JSON value of no kind")
}

// appendJSONNumber spells an integer of 64 bits as it is and all others as the
// floating-point number that Nix's JSON library makes of them.
func appendJSONNumber(dst []byte, text string) []byte {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return strconv.AppendInt(dst, n, 10)
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return strconv.AppendUint(dst, n, 10)
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err) // the parser has refused it
	}
	return appendJSONFloat(dst, f)
}

// appendJSONFloat spells f in the fewest digits that mean f: with a decimal point if
// its exponent is from -4 to 14, else in scientific notation.
func appendJSONFloat(dst []byte, f float64) []byte {
	e := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, err := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if err != nil {
		panic(err) // FormatFloat has written it
	}
	if exponent < -4 || exponent > 14 {
		return append(dst, e...)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if strings.IndexByte(string(dst[start:]), '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}

// appendJSONString spells s in quotes. Only quotes, backslashes and control
// characters are escaped; bytes that are not UTF-8 are written as they are.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if n := strings.IndexByte("\"\\\b\f\n\r\t", c); n >= 0 {
			dst = append(dst, '\\', `"\bfnrt`[n])
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
