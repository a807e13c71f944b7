package narinfo

import (
	"errors"
	"strings"
)

// Two ways to cut a text into keys and values.

// lines is a text, and how far it has been read.
type lines struct {
	text string
	pos  int
}

func (l *lines) next(lenient bool) (key, value string, ok bool, err error) {
	if lenient {
		return l.lenient()
	}
	return l.strict()
}

// strict returns the next key and value as Nix finds them; ok is false at the end.
//
// Nix looks for the next colon, wherever it is, passes over the byte after it, whatever it
// is, and takes all up to the next line feed. So a key may go over several lines, and a
// colon right before a line feed makes the whole next line the value.
func (l *lines) strict() (key, value string, ok bool, err error) {
	rest := l.text[l.pos:]
	if rest == "" {
		return "", "", false, nil
	}
	colon := strings.IndexByte(rest, ':')
	if colon < 0 {
		return "", "", false, errors.New("it has no colon")
	}
	key = rest[:colon]
	after := colon + len(": ")
	length := strings.IndexByte(rest[min(after, len(rest)):], '\n')
	if length < 0 {
		return key, "", false, errors.New("no line feed ends it")
	}
	end := after + length
	l.pos += end + 1
	return key, rest[after:end], true, nil
}

// blank is what a lenient reader passes over at the ends of keys and values.
const blank = " \t\r"

// lenient returns the key and value of the next line that is not blank; ok is false at the
// end.
func (l *lines) lenient() (key, value string, ok bool, err error) {
	for l.pos < len(l.text) {
		line, _, _ := strings.Cut(l.text[l.pos:], "\n")
		l.pos = min(l.pos+len(line)+1, len(l.text))
		if line = strings.Trim(line, blank); line == "" {
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found {
			return "", "", false, errors.New("it has no colon")
		}
		return strings.TrimRight(key, blank), strings.TrimLeft(value, blank), true, nil
	}
	return "", "", false, nil
}
