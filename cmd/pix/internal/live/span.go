package live

import "strings"

// A Style says how lines look. The zero value is ASCII without colours.
type Style struct {
	Color   bool
	Unicode bool
}

// A color is the parameter of the escape sequence ESC [ m; "" is no color.
type color string

const (
	plain  color = ""
	bold   color = "1"
	faint  color = "2"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	blue   color = "34"
)

// A span is a part of a line.
type span struct {
	text  string
	color color
}

// A line is a row of the terminal. Its texts contain no control characters.
type line []span

// width returns the number of columns of a line.
func (l line) width() int {
	n := 0
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

// render returns the bytes of a line, cut to a number of columns.
func (s Style) render(l line, columns int) string {
	var b strings.Builder
	for _, part := range s.fit(l, columns) {
		if s.Color && part.color != plain {
			b.WriteString("\x1b[" + string(part.color) + "m" + part.text + "\x1b[0m")
		} else {
			b.WriteString(part.text)
		}
	}
	return b.String()
}

// fit cuts a line to a number of columns. A line that is cut ends with a mark.
func (s Style) fit(l line, columns int) line {
	if l.width() <= columns {
		return l
	}
	more := s.marks().more
	left := columns - width(more)
	for i, part := range l {
		if w := width(part.text); w <= left {
			left -= w
			continue
		}
		part.text = strings.TrimRight(prefix(part.text, left), " ") + more
		return append(l[:i:i], part)
	}
	return l
}

// marks are the special characters of a style.
type marks struct {
	running, built, failed, blocked, waiting, fetch, send, other string
	child, last, bar, gap, quote, dot, more                      string
}

var (
	unicodeMarks = marks{
		running: "●", built: "✓", failed: "✗", blocked: "⊘", waiting: "○", fetch: "↓", send: "→", other: "·",
		child: "├─ ", last: "└─ ", bar: "│  ", gap: "   ", quote: "│ ", dot: " · ", more: "…",
	}
	asciiMarks = marks{
		running: "*", built: "+", failed: "x", blocked: "!", waiting: ".", fetch: "<", send: ">", other: "-",
		child: "|- ", last: "`- ", bar: "|  ", gap: "   ", quote: "| ", dot: ", ", more: "~",
	}
)

func (s Style) marks() *marks {
	if s.Unicode {
		return &unicodeMarks
	}
	return &asciiMarks
}
