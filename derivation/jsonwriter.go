package derivation

import (
	"strconv"
	"strings"

	"pix/internal/exactjson"
)

// A jsonWriter appends the JSON of derivations to a buffer.
type jsonWriter struct{ exactjson.Writer }

// newJSONWriter returns a writer that appends to dst. indent is the indentation of one level, or "" for a single line.
func newJSONWriter(dst []byte, indent string) *jsonWriter {
	return &jsonWriter{exactjson.Writer{Buf: dst, Indent: indent}}
}

func (w *jsonWriter) object(members Map[string, string]) {
	w.Open('{')
	for name, value := range members.All() {
		w.Member(name, value)
	}
	w.Close('}')
}

// value writes a parsed value. It recurses at most maxJSONDepth times.
func (w *jsonWriter) value(v *jsonValue) {
	switch v.kind() {
	case jsonArray:
		w.Open('[')
		for i := range v.inner.list {
			w.Element()
			w.value(&v.inner.list[i])
		}
		w.Close(']')
	case jsonObject:
		w.Open('{')
		for i := range v.inner.members.entries {
			w.Key(v.inner.members.entries[i].Key)
			w.value(&v.inner.members.entries[i].Value)
		}
		w.Close('}')
	case jsonNull, jsonBool, jsonNumber, jsonString:
		w.Buf = v.append(w.Buf)
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
