package live

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"pix/activity"
)

const (
	// maxText is the number of bytes that are kept of an untrusted text.
	maxText = 4 << 10
	// maxMarks is the largest number of combining marks in a row. No language has more.
	maxMarks = 3
)

// safeLine returns an untrusted text as one line that is safe on a terminal: without control characters and characters that
// change the direction of others or join them, with at most maxText bytes, and with a space for each tab and line feed.
// Of a text that overwrites itself with carriage returns, such as a progress bar, it returns the last part.
func safeLine(s string) string {
	s = strings.TrimRight(s, "\r\n")
	s = s[strings.LastIndexByte(s, '\r')+1:]
	s = activity.Plain(s[:min(len(s), maxText)])
	var b strings.Builder
	marks := 0
	for _, r := range s {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case marks > maxMarks, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// safeLines returns the lines of an untrusted text, each made safe by safeLine.
func safeLines(s string) []string {
	var lines []string
	for line := range strings.Lines(strings.TrimRight(s, " \r\n")) {
		lines = append(lines, strings.TrimRight(safeLine(line), " "))
	}
	return lines
}

// width returns the number of columns of a text on a terminal.
func width(s string) int { return uniseg.StringWidth(s) }

// prefix returns the longest prefix of a text that fits into a number of columns.
func prefix(s string, columns int) string {
	used := 0
	rest, state := s, -1
	for rest != "" {
		_, after, w, next := uniseg.FirstGraphemeClusterInString(rest, state)
		if used += w; used > columns {
			return s[:len(s)-len(rest)]
		}
		rest, state = after, next
	}
	return s
}

// shortPaths replaces store paths in a text with their names.
func shortPaths(s string) string {
	const hashLen = 32
	var b strings.Builder
	for {
		dash := strings.IndexByte(s, '-')
		if dash < 0 {
			return b.String() + s
		}
		before := s[:dash]
		slash := strings.LastIndexByte(before, '/')
		if slash < 0 || dash-slash-1 != hashLen {
			b.WriteString(s[:dash+1])
		} else {
			b.WriteString(before[:strings.LastIndexAny(before, " '\"")+1])
		}
		s = s[dash+1:]
	}
}

// nameOf returns the name of a store path without .drv.
func nameOf(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	if _, name, ok := strings.Cut(base, "-"); ok {
		base = name
	}
	return safeLine(strings.TrimSuffix(base, ".drv"))
}
