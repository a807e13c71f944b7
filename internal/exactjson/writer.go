package exactjson

import "strconv"

// A Writer appends JSON to a buffer, in the form of Nix: see [AppendString]. The caller writes the text of a
// value after each call of Key and Element, so the members of an object are written in the caller's order.
type Writer struct {
	Buf    []byte
	Indent string // the indentation of one level; "" to write a single line

	depth  int
	inside bool // the current array or object has an element
}

// Open begins an array or an object with the bracket.
func (w *Writer) Open(bracket byte) {
	w.Buf = append(w.Buf, bracket)
	w.depth++
	w.inside = false
}

// Close ends the current array or object with the bracket.
func (w *Writer) Close(bracket byte) {
	w.depth--
	if w.inside {
		w.line()
	}
	w.Buf = append(w.Buf, bracket)
	w.inside = true
}

func (w *Writer) line() {
	if w.Indent == "" {
		return
	}
	w.Buf = append(w.Buf, '\n')
	for range w.depth {
		w.Buf = append(w.Buf, w.Indent...)
	}
}

// Element writes the text before an element of an array.
func (w *Writer) Element() {
	if w.inside {
		w.Buf = append(w.Buf, ',')
	}
	w.inside = true
	w.line()
}

// Key writes the text before a value in an object.
func (w *Writer) Key(name string) {
	w.Element()
	w.Buf = append(AppendString(w.Buf, name), ':')
	if w.Indent != "" {
		w.Buf = append(w.Buf, ' ')
	}
}

// Raw writes a text that is JSON, such as null.
func (w *Writer) Raw(text string) { w.Buf = append(w.Buf, text...) }

// String writes a string.
func (w *Writer) String(s string) { w.Buf = AppendString(w.Buf, s) }

// Uint writes a number.
func (w *Writer) Uint(n uint64) { w.Buf = strconv.AppendUint(w.Buf, n, 10) }

// Member writes a member of an object whose value is a string.
func (w *Writer) Member(name, value string) {
	w.Key(name)
	w.String(value)
}

// Strings writes an array of strings.
func (w *Writer) Strings(list []string) {
	w.Open('[')
	for _, s := range list {
		w.Element()
		w.String(s)
	}
	w.Close(']')
}
