package live

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"pix/activity"
)

const (
	// maxText is how many bytes are kept of a text from elsewhere.
	maxText = 4 << 10
	// maxMarks is how many combining marks may follow each other: more are no language.
	maxMarks = 3
)

// oneLine makes a line that is safe on a terminal out of a text from elsewhere: no control
// characters, no characters that turn the direction of others or join them, no more than
// maxText bytes, and a space for each tab and line feed. Of what overwrites itself, as
// bars of progress do, it is the last.
func oneLine(s string) string {
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

// paragraph makes several lines of a text from elsewhere, safe as those of oneLine are.
func paragraph(s string) []string {
	var lines []string
	for line := range strings.Lines(strings.TrimRight(s, " \r\n")) {
		lines = append(lines, strings.TrimRight(oneLine(line), " "))
	}
	return lines
}

// width returns how many columns a line takes.
func width(s string) int { return uniseg.StringWidth(s) }

// prefix returns the longest beginning of a line that fits into so many columns.
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

// shortPaths leaves out of a text the directories and hash parts of store paths.
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

// nameOf returns what people call a store path, or the output of a derivation: its name
// without the hash part and .drv.
func nameOf(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	if _, name, ok := strings.Cut(base, "-"); ok {
		base = name
	}
	return oneLine(strings.TrimSuffix(base, ".drv"))
}
