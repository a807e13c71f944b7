package pixpkgs

import (
	"iter"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// placeholderLen is how many characters of base 32 follow the slash of a placeholder.
const placeholderLen = 52

// A found is a place in a text where a store path or a placeholder is mentioned.
type found struct {
	start, end int // of the path with its name, or of the placeholder with its slash
	// key identifies what is mentioned: the hash part of a path, or the placeholder.
	key           string
	isPlaceholder bool
}

// mentions yields where a text mentions store paths in dir, whether they exist or not, and
// what looks like a placeholder.
func mentions(text string, dir storepath.Dir) iter.Seq[found] {
	return func(yield func(found) bool) {
		for i := 0; i < len(text); {
			next := strings.IndexByte(text[i:], '/')
			if next < 0 {
				return
			}
			i += next
			f, ok := mentionAt(text, i, dir)
			if !ok {
				i++
				continue
			}
			if !yield(f) {
				return
			}
			i = f.end
		}
	}
}

// mentionAt returns the mention that begins at i.
func mentionAt(text string, i int, dir storepath.Dir) (f found, ok bool) {
	if end := i + 1 + placeholderLen; end <= len(text) && isPlaceholderAt(text, i, end) {
		return found{i, end, text[i:end], true}, true
	}
	rest, ok := strings.CutPrefix(text[i:], string(dir)+"/")
	if !ok || len(rest) < storepath.HashPartLen+2 || rest[storepath.HashPartLen] != '-' {
		return f, false
	}
	hashPart := rest[:storepath.HashPartLen]
	name := nameAt(rest[storepath.HashPartLen+1:])
	if !isBase32(hashPart) || name == 0 {
		return f, false
	}
	start := len(text) - len(rest)
	return found{i, start + storepath.HashPartLen + 1 + name, hashPart, false}, true
}

// isPlaceholderAt reports whether text[i:end] is a placeholder. It must stand alone: in
// "https://host/nar/<hash>.nar.xz" there is none.
func isPlaceholderAt(text string, i, end int) bool {
	alone := (i == 0 || !isNameByte(text[i-1]) && text[i-1] != '/') && (end == len(text) || !isNameByte(text[end]))
	return alone && isBase32(text[i+1:end])
}

func isBase32(s string) bool {
	for i := range len(s) {
		if !nixbase32.IsDigit(s[i]) {
			return false
		}
	}
	return true
}

// nameAt returns how long the name is that s begins with.
func nameAt(s string) int {
	n := 0
	for n < len(s) && isNameByte(s[n]) {
		n++
	}
	return n
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+-._?=", c) >= 0
}
