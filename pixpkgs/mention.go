package pixpkgs

import (
	"iter"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// placeholderLen is the number of base-32 characters after the slash of a placeholder.
const placeholderLen = 52

// A textMention is a store path or a placeholder in a text.
type textMention struct {
	start, end int // position of the path with its name, or of the placeholder with its slash
	// key is the hash part of the path, or the placeholder.
	key           string
	isPlaceholder bool
}

// mentions returns an iterator over the store paths in dir that text contains, whether they exist or
// not, and over everything that looks like a placeholder.
func mentions(text string, dir storepath.Dir) iter.Seq[textMention] {
	return func(yield func(textMention) bool) {
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
func mentionAt(text string, i int, dir storepath.Dir) (f textMention, ok bool) {
	if end := i + 1 + placeholderLen; end <= len(text) && isPlaceholderAt(text, i, end) {
		return textMention{i, end, text[i:end], true}, true
	}
	rest, ok := strings.CutPrefix(text[i:], string(dir)+"/")
	if !ok || len(rest) < storepath.HashPartLen+2 || rest[storepath.HashPartLen] != '-' {
		return f, false
	}
	hashPart := rest[:storepath.HashPartLen]
	name := nameAt(rest[storepath.HashPartLen+1:])
	if !nixbase32.IsDigits(hashPart) || name == 0 {
		return f, false
	}
	start := len(text) - len(rest)
	return textMention{i, start + storepath.HashPartLen + 1 + name, hashPart, false}, true
}

// isPlaceholderAt reports whether text[i:end] is a placeholder. It must not be part of a longer name:
// "https://host/nar/<hash>.nar.xz" does not contain one.
func isPlaceholderAt(text string, i, end int) bool {
	alone := (i == 0 || !isNameByte(text[i-1]) && text[i-1] != '/') && (end == len(text) || !isNameByte(text[end]))
	return alone && nixbase32.IsDigits(text[i+1:end])
}

// nameAt returns the length of the name at the start of s.
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
