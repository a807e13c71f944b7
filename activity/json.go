package activity

import (
	"strconv"
	"unicode/utf8"
)

// JSONPrefix precedes each event in the output of Nix with --log-format internal-json.
const JSONPrefix = "@nix "

// AppendJSON appends an event as Nix writes it in its internal-json log format: one line of JSON without [JSONPrefix]
// and without a line feed. Bytes that are not UTF-8 are replaced with U+FFFD.
//
// Source: JSONLogger in src/libutil/logging.cc. Members are sorted by name.
func AppendJSON(b []byte, e Event) []byte {
	switch e := e.(type) {
	case Log:
		b = appendNumber(append(b, `{"action":"msg","level":`...), uint64(e.Level))
		b = appendString(append(b, `,"msg":`...), e.Text)
	case Start:
		b = append(b, `{"action":"start",`...)
		b = appendFields(b, e.Fields)
		b = appendNumber(append(b, `"id":`...), uint64(e.ID))
		b = appendNumber(append(b, `,"level":`...), uint64(e.Level))
		b = appendNumber(append(b, `,"parent":`...), uint64(e.Parent))
		b = appendString(append(b, `,"text":`...), e.Text)
		b = appendNumber(append(b, `,"type":`...), uint64(e.Type))
	case Stop:
		b = appendNumber(append(b, `{"action":"stop","id":`...), uint64(e.ID))
	case Result:
		b = append(b, `{"action":"result",`...)
		b = appendFields(b, e.Fields)
		b = appendNumber(append(b, `"id":`...), uint64(e.ID))
		b = appendNumber(append(b, `,"type":`...), uint64(e.Type))
	}
	return append(b, '}')
}

// AppendErrorJSON appends the error with which a command of Nix ends, in the form of [AppendJSON]. The members for a
// position are null, because only an evaluator has positions.
func AppendErrorJSON(b []byte, e *Error) []byte {
	b = appendNumber(append(b, `{"action":"msg","column":null,"file":null,"level":`...), uint64(e.Level))
	b = appendString(append(b, `,"line":null,"msg":`...), e.colored())
	b = appendString(append(b, `,"raw_msg":`...), e.Message)
	return append(b, '}')
}

// colored returns the message and the traces with the colours and the indentation of Nix.
//
// Source: showErrorInfo in src/libutil/error.cc.
func (e *Error) colored() string {
	const prefix = "\x1b[31;1merror:\x1b[0m"
	text := ""
	for _, trace := range e.Traces {
		text += "\n… " + trace + "\n"
	}
	if text != "" {
		text += "\n" + prefix + " "
	}
	text = Indent(text + e.Message)
	if text == "" {
		return prefix
	}
	return prefix + " " + text
}

func appendNumber(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// appendFields appends the member for fields and a comma. Without fields Nix leaves the member out.
func appendFields(b []byte, fields []Field) []byte {
	if len(fields) == 0 {
		return b
	}
	b = append(b, `"fields":[`...)
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		if f.isText {
			b = appendString(b, f.text)
		} else {
			b = appendNumber(b, f.number)
		}
	}
	return append(b, `],`...)
}

// escapes are the characters with an escape sequence of their own.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendString appends a string as the JSON library of Nix does: it escapes only what JSON requires, with small
// hexadecimal digits.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch escape, ok := escapes[c]; {
		case ok:
			b = append(b, '\\', escape)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				size = invalidLen(s[i:])
			}
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// invalidLen returns the number of bytes at the start of s that one U+FFFD replaces. s starts with invalid UTF-8. An
// incomplete sequence is replaced as a whole, as Unicode recommends.
func invalidLen(s string) int {
	const maxSequence = 4
	for n := min(len(s), maxSequence-1); n > 1; n-- {
		if isIncomplete(s[:n]) {
			return n
		}
	}
	return 1
}

// isIncomplete reports whether s is the beginning of a longer valid sequence.
func isIncomplete(s string) bool {
	for _, next := range []string{"\x80", "\x90", "\xa0", "\xbf"} { // every range of a second byte has one of them
		for rest := next; len(s)+len(rest) <= utf8.UTFMax; rest += "\x80" {
			if r, size := utf8.DecodeRuneInString(s + rest); r != utf8.RuneError && size > len(s) {
				return true
			}
		}
	}
	return false
}
