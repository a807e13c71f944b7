package derivation

import (
	"strconv"
	"strings"

	"pix/internal/exactjson"
)

// A jsonWriter appends JSON to a buffer.
type jsonWriter struct {
	buf    []byte
	indent string // "" to write a single line
	depth  int
	inside bool // the current array or object has an element
}

func (w *jsonWriter) open(bracket byte) {
	w.buf = append(w.buf, bracket)
	w.depth++
	w.inside = false
}

func (w *jsonWriter) close(bracket byte) {
	w.depth--
	if w.inside {
		w.line()
	}
	w.buf = append(w.buf, bracket)
	w.inside = true
}

func (w *jsonWriter) line() {
	if w.indent == "" {
		return
	}
	w.buf = append(w.buf, '\n')
	for range w.depth {
		w.buf = append(w.buf, w.indent...)
	}
}

// element writes the text before an element of an array.
func (w *jsonWriter) element() {
	if w.inside {
		w.buf = append(w.buf, ',')
	}
	w.inside = true
	w.line()
}

// key writes the text before a value in an object.
func (w *jsonWriter) key(name string) {
	w.element()
	w.buf = append(exactjson.AppendString(w.buf, name), ':')
	if w.indent != "" {
		w.buf = append(w.buf, ' ')
	}
}

func (w *jsonWriter) raw(s string)    { w.buf = append(w.buf, s...) }
func (w *jsonWriter) string(s string) { w.buf = exactjson.AppendString(w.buf, s) }

func (w *jsonWriter) member(name, value string) {
	w.key(name)
	w.string(value)
}

func (w *jsonWriter) strings(list []string) {
	w.open('[')
	for _, s := range list {
		w.element()
		w.string(s)
	}
	w.close(']')
}

func (w *jsonWriter) object(members Map[string, string]) {
	w.open('{')
	for name, value := range members.All() {
		w.member(name, value)
	}
	w.close('}')
}

// value writes a parsed value. It recurses at most maxJSONDepth times.
func (w *jsonWriter) value(v *jsonValue) {
	switch v.kind() {
	case jsonArray:
		w.open('[')
		for i := range v.inner.list {
			w.element()
			w.value(&v.inner.list[i])
		}
		w.close(']')
	case jsonObject:
		w.open('{')
		for i := range v.inner.members.entries {
			w.key(v.inner.members.entries[i].Key)
			w.value(&v.inner.members.entries[i].Value)
		}
		w.close('}')
	case jsonNull, jsonBool, jsonNumber, jsonString:
		w.buf = v.append(w.buf)
	}
}

// append appends v in the format of Nix 2.34: without spaces, members sorted by the bytes of their
// names, floating-point numbers in their shortest form.
func (v *jsonValue) append(dst []byte) []byte {
	switch v.kind() {
	case jsonNull, jsonBool:
		return append(dst, v.raw...)
	case jsonNumber:
		return appendJSONNumber(dst, v.raw)
	case jsonString:
		return exactjson.AppendString(dst, v.text())
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
			dst = exactjson.AppendString(appendComma(dst, i), e.Key)
			dst = append(dst, ':')
			dst = e.Value.append(dst)
		}
		return append(dst, '}')
	}
	panic("derivation: unknown kind of JSON value")
}

// appendJSONNumber appends a 64-bit integer as an integer, and any other number as the floating-point
// number that Nix's JSON library parses.
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
		panic(err) // the parser accepts only valid numbers
	}
	return appendJSONFloat(dst, f)
}

// appendJSONFloat appends f with the fewest digits that parse as f: with a decimal point if its exponent
// is from -4 to 14, otherwise in scientific notation.
func appendJSONFloat(dst []byte, f float64) []byte {
	e := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, err := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if err != nil {
		panic(err) // cannot happen: FormatFloat has written it
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
