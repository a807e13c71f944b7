package live

import "strings"

// A Style says how lines look. The zero value has neither colours nor characters that are
// not ASCII.
type Style struct {
	Color   bool
	Unicode bool
}

// A color is what stands between ESC [ and m; "" is none.
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

// A line is what is on one row of the terminal. Its texts are safe.
type line []span

// Width returns how many columns a line takes.
func (l line) width() int {
	n := 0
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

// render returns the bytes that show a line in no more than so many columns.
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

// fit returns what of a line fits, and if that is not all, a mark at its end that says so.
func (s Style) fit(l line, columns int) line {
	if l.width() <= columns {
		return l
	}
	more := s.marks().more
	room := columns - width(more)
	for i, part := range l {
		if w := width(part.text); w <= room {
			room -= w
			continue
		}
		part.text = strings.TrimRight(prefix(part.text, room), " ") + more
		return append(l[:i:i], part)
	}
	return l
}

// The marks of a style.
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
