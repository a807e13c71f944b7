package activity

import (
	"strings"
	"unicode/utf8"
)

// An Error is the error with which a daemon reports that an operation failed.
type Error struct {
	Level   Verbosity
	Message string   // as received, possibly with ANSI colours
	Traces  []string // what the daemon was doing, innermost first, as received
	Status  uint64   // exit status for a command; 0 if the daemon did not send one
}

// Error returns the message without colours and traces.
func (e *Error) Error() string { return Plain(e.Message) }

// Plain removes ANSI escape sequences, carriage returns and all other control characters
// except line feeds and tabs from s. It leaves all other bytes as they are. Text from
// another program could otherwise control the terminal on which it is shown.
func Plain(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == 0x1b:
			i += escapeLen(s[i:])
		case c < utf8.RuneSelf && isControl(rune(c)):
			i++
		case isC1(rune(c)) && len(b) > 0 && b[len(b)-1] == 0xc2: // U+0080 to U+009F
			b = b[:len(b)-1]
			i++
		default:
			b = append(b, c)
			i++
		}
	}
	return string(b)
}

func isControl(r rune) bool { return r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || isC1(r) }

// isC1 reports whether r is a control character of the C1 set. Some of them start escape
// sequences.
func isC1(r rune) bool { return 0x80 <= r && r <= 0x9f }

// escapeLen returns the length of the escape sequence at the start of s: CSI (ESC [ …
// letter), OSC (ESC ] … BEL or ESC \), or ESC and one more byte. An unterminated sequence
// extends to the end of s.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if 0x40 <= s[i] && s[i] <= 0x7e {
				return i + 1
			}
		}
	case ']':
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
	default:
		return 2
	}
	return len(s)
}

// Colored is [Plain], but it keeps colours: the escape sequences ESC [ … m. It resets them at the end of the text.
func Colored(s string) string {
	var b strings.Builder
	start, colored := 0, false // start is the end of the last colour
	for at := 0; ; {
		i := strings.Index(s[at:], "\x1b[")
		if i < 0 {
			break
		}
		i += at
		at = i + escapeLen(s[i:])
		if sequence := s[i:at]; isColor(sequence) {
			// Text between colours is made safe as a whole: without a sequence in the middle, the bytes around it could
			// be a control character.
			b.WriteString(Plain(s[start:i]) + sequence)
			start, colored = at, true
		}
	}
	b.WriteString(Plain(s[start:]))
	if colored {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// isColor reports whether an escape sequence only sets the colours of the text after it.
func isColor(sequence string) bool {
	parameters, ok := strings.CutSuffix(sequence[2:], "m")
	return ok && strings.Trim(parameters, "0123456789;:") == ""
}
