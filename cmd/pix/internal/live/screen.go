package live

import (
	"slices"
	"strconv"
	"strings"

	"pix/activity"
)

// What makes a terminal do things. Those that it does not know it ignores.
const (
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	noWrap      = "\x1b[?7l" // what is too long ends at the margin
	wrap        = "\x1b[?7h"
	beginUpdate = "\x1b[?2026h" // show nothing until
	endUpdate   = "\x1b[?2026l"
	eraseLine   = "\x1b[K" // from here
	eraseScreen = "\x1b[J" // from here
)

// A screen knows which lines of the view are on the terminal, and turns new ones into the
// bytes that put them in their place. The cursor always rests at the beginning of the
// last of them, or where the first will be.
type screen struct {
	shown  []string
	hidden bool // the cursor is
	keep   bool // do not hide the cursor again
}

// frame returns the bytes that show lines in place of those that are shown, and above them
// messages, which stay. It returns nothing if nothing changes. The terminal has so many
// columns, and each line is narrower than that.
func (s *screen) frame(messages, lines []string, columns int) string {
	if len(messages) == 0 && slices.Equal(lines, s.shown) {
		return ""
	}
	var b strings.Builder
	b.WriteString(beginUpdate)
	if !s.hidden && !s.keep && len(lines) > 0 {
		s.hidden = true
		b.WriteString(hideCursor)
	}
	b.WriteString(s.toTop(columns))
	if len(messages) > 0 || len(lines) == 0 {
		b.WriteString(eraseScreen)
	}
	for _, m := range messages {
		b.WriteString(m + "\r\n")
	}
	b.WriteString(noWrap)
	for i, l := range lines {
		if b.WriteString(l); i < len(lines)-1 {
			b.WriteString(eraseLine + "\r\n")
		} else {
			b.WriteString(eraseScreen + "\r")
		}
	}
	b.WriteString(wrap + endUpdate)
	s.shown = lines
	return b.String()
}

// leave returns the bytes that take the view off the terminal and put it in order.
func (s *screen) leave(columns int) string {
	if len(s.shown) == 0 && !s.hidden {
		return ""
	}
	b := s.toTop(columns) + eraseScreen + restore
	s.forget()
	return b
}

// restore makes a terminal as it was, wherever the cursor is.
const restore = wrap + showCursor + endUpdate

// forget is called when others have written to the terminal since.
func (s *screen) forget() { s.shown, s.hidden = nil, false }

// toTop returns the bytes that move the cursor to the first line shown. Where the terminal has
// become narrower, lines take several rows now.
func (s *screen) toTop(columns int) string {
	up := 0
	for _, l := range s.shown[:max(len(s.shown)-1, 0)] {
		up += max((width(activity.Plain(l))+columns-1)/columns, 1)
	}
	if up == 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(up) + "A"
}
