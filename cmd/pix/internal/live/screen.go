package live

import (
	"slices"
	"strconv"
	"strings"

	"pix/activity"
)

// Escape sequences. Terminals ignore those that they do not support.
const (
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	noWrap      = "\x1b[?7l" // cut long lines at the margin
	wrap        = "\x1b[?7h"
	beginUpdate = "\x1b[?2026h" // defer drawing until endUpdate
	endUpdate   = "\x1b[?2026l"
	eraseRow    = "\x1b[2K"
	eraseRest   = "\x1b[K" // the rest of the row
	eraseBelow  = "\x1b[J" // the rest of the row and all rows below; not at the top left, where tmux moves the screen to its history
	down        = "\x1b[B"
)

// A screen keeps track of the lines of the view on the terminal, and returns the bytes that replace them. Between frames the
// cursor is at the beginning of the last line, or where the first line will be.
type screen struct {
	shown  []string
	hidden bool // the cursor is hidden
	keep   bool // never hide the cursor again

	columns, rows int   // the size of the terminal when shown was written
	scrolled      []int // the widths of lines that left the terminal at its top when it shrank, the last one last
}

// frame returns the bytes that replace the lines on the terminal with new ones, and write messages above them, which stay. It
// returns "" if nothing changes. The lines must be narrower than the terminal, and fewer than its rows.
func (s *screen) frame(messages, lines []string, columns, rows int) string {
	resized := columns != s.columns || rows != s.rows
	up := s.rowsAbove(columns, rows)
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
		s.scrolled = nil // the message is between them and the view
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

// leave returns the bytes that remove the view and reset the terminal.
func (s *screen) leave(columns, rows int) string {
	if len(s.shown) == 0 && !s.hidden {
		return ""
	}
	up := s.rowsAbove(columns, rows)
	b := moveUp(up) + erase(min(up+1, rows)) + restore
	s.forget()
	return b
}

// restore resets a terminal, regardless of where the cursor is.
const restore = wrap + showCursor + endUpdate

// forget must be called after other programs have written to the terminal.
func (s *screen) forget() { s.shown, s.hidden, s.scrolled = nil, false, nil }

// rowsAbove returns how many rows above the cursor the first line of the view begins.
//
// If the terminal has become narrower, a line takes several rows. If it has become lower, the first lines may have
// left it; and if it has become higher again, they are back and must be erased, too. (On a terminal that does not bring
// them back, the cursor stops at the top.)
func (s *screen) rowsAbove(columns, rows int) (up int) {
	var scrolled []int // the nearest first
	for i, l := range slices.Backward(s.shown) {
		if i == len(s.shown)-1 {
			continue // the cursor is at its beginning
		}
		w := width(activity.Plain(l))
		if up += rowsOf(w, columns); up >= rows {
			scrolled = append(scrolled, w)
		}
	}
	slices.Reverse(scrolled)
	s.scrolled = append(s.scrolled, scrolled...)
	for back := rows - s.rows; len(s.scrolled) > 0; s.scrolled = s.scrolled[:len(s.scrolled)-1] {
		n := rowsOf(s.scrolled[len(s.scrolled)-1], columns)
		if back -= n; back < 0 {
			break
		}
		up += n
	}
	return up
}

// moveUp returns the bytes that move the cursor up by a number of rows, and to the beginning of the row.
func moveUp(rows int) string {
	if rows == 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(rows) + "A"
}

// erase returns the bytes that erase a number of rows, from the cursor down. The cursor, which must be at the beginning of a
// row, does not move.
func erase(rows int) string {
	return eraseRow + strings.Repeat(down+eraseRow, rows-1) + moveUp(rows-1)
}

// rowsOf returns the number of rows of a line with a width.
func rowsOf(width, columns int) int { return max((width+columns-1)/columns, 1) }
