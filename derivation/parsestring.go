package derivation

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// string reads a quoted string. The result points into the text unless the string has escapes.
// The fast path is for strings of less than 16 bytes, as most are.
func (p *parser) string() (string, bool) {
	text, start := p.text, p.pos+1
	if p.pos >= len(text) || text[p.pos] != '"' {
		return "", p.unexpected(`"`)
	}
	if start+16 <= len(text) {
		head := text[start : start+16]
		n := firstOf(hasByte(load64(head), '"'), hasByte(load64(head[8:]), '"'))
		if n < 16 && p.nextEscape >= start+n {
			p.pos = start + n + 1
			return text[start : start+n], true
		}
	}
	return p.restOfString(start)
}

// restOfString reads a string whose opening quote precedes start.
func (p *parser) restOfString(start int) (string, bool) {
	end := indexFrom(p.text, start, '"')
	if end == len(p.text) {
		return "", p.fail(start-1, "", "the string that begins here does not end")
	}
	if p.nextEscape < end && p.escapeBefore(start, end) {
		return p.escapedString(start)
	}
	p.pos = end + 1
	return p.text[start:end], true
}

// escapedString reads a string with at least one backslash, whose contents begin at start. It
// copies eight bytes at a time, up to the first quote or backslash among them.
func (p *parser) escapedString(start int) (string, bool) {
	text, buf := p.text, p.scratch.buf
	at, n := start, 0
	for at < len(text) {
		if n+8 > len(buf) {
			buf = append(buf, make([]byte, max(len(buf), 1<<12))...)
		}
		if at+8 <= len(text) {
			word := load64(text[at : at+8])
			binary.LittleEndian.PutUint64(buf[n:], word)
			found := hasByte(word, '"') | hasByte(word, '\\')
			if found == 0 {
				at, n = at+8, n+8
				continue
			}
			plain := bits.TrailingZeros64(found) / 8
			at, n = at+plain, n+plain
		}
		switch c := text[at]; {
		case c == '"':
			p.scratch.buf, p.pos = buf, at+1
			return string(buf[:n]), true
		case c != '\\':
			buf[n] = c
			at, n = at+1, n+1
		case at+1 < len(text):
			buf[n] = p.unescape(at + 1)
			at, n = at+2, n+1
		default:
			at = len(text)
		}
	}
	return "", p.fail(start-1, "", "the string that begins here does not end")
}

// unescape returns the meaning of the byte at offset after a backslash.
func (p *parser) unescape(offset int) byte {
	c := p.text[offset]
	if plain := unescaped[c]; plain != 0 {
		return plain
	}
	p.notCanonical(offset-1, fmt.Sprintf("%q is escaped unnecessarily", c))
	return c
}

// unescaped has the meaning of the bytes that Nix writes after a backslash, and zero for all
// others.
var unescaped = [256]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\'}

// indexFrom returns the offset of the first c in s from start on, or len(s).
func indexFrom(s string, start int, c byte) int {
	if i := strings.IndexByte(s[start:], c); i >= 0 {
		return start + i
	}
	return len(s)
}

// plain reads a string in which Nix does not escape anything.
func (p *parser) plain() (string, bool) {
	start := p.pos
	s, ok := p.string()
	if ok && len(s) != p.pos-start-2 {
		p.notCanonical(start, "output names, paths, hashes and the platform must not have escapes")
	}
	return s, ok
}

// escapeBefore reports whether there is a backslash between start and end. The caller must check
// that p.nextEscape is less than end.
func (p *parser) escapeBefore(start, end int) bool {
	if p.nextEscape < start {
		p.nextEscape = indexFrom(p.text, start, '\\')
	}
	return p.nextEscape < end
}
