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
	eraseRow    = "\x1b[2K"
	eraseRest   = "\x1b[K" // of the row, from here
	eraseBelow  = "\x1b[J" // and all rows below; never at the top left: tmux keeps what was there
	down        = "\x1b[B"
)

// A screen knows which lines of the view are on the terminal, and turns new ones into the
// bytes that put them in their place. The cursor always rests at the beginning of the
// last of them, or where the first will be.
type screen struct {
	shown  []string
	hidden bool // the cursor is
	keep   bool // do not hide the cursor again

	columns, rows int   // of the terminal, when shown was written
	lost          []int // widths of lines that left the screen at its top when it shrank, the last one last
}

// frame returns the bytes that show lines in place of those that are shown, and above them
// messages, which stay. It returns nothing if nothing changes. The lines are narrower than
// the terminal, and fewer than it has rows.
func (s *screen) frame(messages, lines []string, columns, rows int) string {
	resized := columns != s.columns || rows != s.rows
	up := s.above(columns, rows)
	s.columns, s.rows = columns, rows
	if len(messages) == 0 && slices.Equal(lines, s.shown) && (!resized || len(lines) == 0) {
		return ""
	}
	var b strings.Builder
	b.WriteString(beginUpdate)
	if !s.hidden && !s.keep && len(lines) > 0 {
		s.hidden = true
		b.WriteString(hideCursor)
	}
	if len(s.shown) > 0 {
		b.WriteString(moveUp(up))
		if len(messages) > 0 || len(lines) == 0 || resized {
			b.WriteString(erase(min(up+1, rows)))
		}
	}
	for _, m := range messages {
		b.WriteString(m + "\r\n")
		s.lost = nil // there is something else between
	}
	b.WriteString(noWrap)
	for i, l := range lines {
		if b.WriteString(l); i < len(lines)-1 {
			b.WriteString(eraseRest + "\r\n")
		} else {
			b.WriteString(eraseBelow + "\r")
		}
	}
	b.WriteString(wrap + endUpdate)
	s.shown = lines
	return b.String()
}

// leave returns the bytes that take the view off the terminal and put it in order.
func (s *screen) leave(columns, rows int) string {
	if len(s.shown) == 0 && !s.hidden {
		return ""
	}
	up := s.above(columns, rows)
	b := moveUp(up) + erase(min(up+1, rows)) + restore
	s.forget()
	return b
}

// restore makes a terminal as it was, wherever the cursor is.
const restore = wrap + showCursor + endUpdate

// forget is called when others have written to the terminal since.
func (s *screen) forget() { s.shown, s.hidden, s.lost = nil, false, nil }

// above returns how many rows above the cursor the first line begins that is shown.
//
// Where the terminal has become narrower, lines take several rows now. Where it has become
// lower, the topmost may have left the screen; and where it has become higher again, they
// are back, so that they too have to be erased. (A terminal that does not bring them back
// stops the cursor at the top.)
func (s *screen) above(columns, rows int) (up int) {
	var lost []int // the nearest first
	for i, l := range slices.Backward(s.shown) {
		if i == len(s.shown)-1 {
			continue // the cursor is at its beginning
		}
		w := width(activity.Plain(l))
		if up += rowsOf(w, columns); up >= rows {
			lost = append(lost, w)
		}
	}
	slices.Reverse(lost)
	s.lost = append(s.lost, lost...)
	for back := rows - s.rows; len(s.lost) > 0; s.lost = s.lost[:len(s.lost)-1] {
		n := rowsOf(s.lost[len(s.lost)-1], columns)
		if back -= n; back < 0 {
			break
		}
		up += n
	}
	return up
}

// moveUp returns the bytes that move the cursor to the beginning of a row above.
func moveUp(rows int) string {
	if rows == 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(rows) + "A"
}

// erase returns the bytes that erase so many rows, from that of the cursor on. The cursor,
// which is at the beginning of a row, stays there.
func erase(rows int) string {
	return eraseRow + strings.Repeat(down+eraseRow, rows-1) + moveUp(rows-1)
}

// rowsOf returns how many rows a line of some width takes.
func rowsOf(width, columns int) int { return max((width+columns-1)/columns, 1) }
