package termtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Screen is the screen of a terminal. Where terminals differ, it behaves like tmux: it wraps lines again when its size
// changes, takes lines back from its history when it becomes higher, and leaves the cursor at the margin after a
// character there until the next character.
type Screen struct {
	columns, rows int
	grid          []row
	history       []row
	x, y          int // the cursor; x equals columns after a character at the margin
	noWrap        bool
	hidden        bool   // the cursor is hidden
	rest          []byte // an incomplete character or sequence
	unsupported   []string
}

// A row is a row of cells. A wide character has two cells; the second one is "".
type row struct {
	cells   []string
	wrapped bool // continues in the next row
}

// NewScreen returns an empty screen.
func NewScreen(columns, rows int) *Screen {
	return &Screen{columns: columns, rows: rows, grid: make([]row, rows)}
}

// Lines returns the lines on the screen, without spaces at their ends and without empty lines at the end.
func (s *Screen) Lines() []string { return textOf(s.grid) }

// History returns the lines that have left the screen at its top.
func (s *Screen) History() []string { return textOf(s.history) }

// Cursor returns the position of the cursor, which begins at 0, and whether it is visible.
func (s *Screen) Cursor() (x, y int, shown bool) { return s.x, s.y, !s.hidden }

// Wraps reports whether long lines continue in the next row, which is the default.
func (s *Screen) Wraps() bool { return !s.noWrap }

// Unsupported returns the control characters and escape sequences in the output that a terminal may not support.
func (s *Screen) Unsupported() []string { return s.unsupported }

func textOf(rows []row) []string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = strings.TrimRight(strings.Join(r.cells, ""), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Write writes output to the screen. It never returns an error.
func (s *Screen) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for len(s.rest) > 0 {
		n := s.interpret(s.rest)
		if n == 0 {
			break // incomplete
		}
		s.rest = s.rest[n:]
	}
	return len(p), nil
}

// interpret interprets the next character or sequence, and returns its length; 0 if it is incomplete.
func (s *Screen) interpret(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return s.escape(b)
	case c == '\r':
		s.x = 0
	case c == '\n':
		s.lineFeed(false)
	case c == '\b':
		s.x = max(min(s.x, s.columns-1)-1, 0)
	case c == '\t':
		s.x = min(s.x/8*8+8, s.columns-1)
	case c == 0x07:
	case c < 0x20 || c == 0x7f:
		s.unsupported = append(s.unsupported, strconv.Quote(string(c)))
	case !utf8.FullRune(b):
		return 0
	default:
		r, n := utf8.DecodeRune(b)
		s.put(r)
		return n
	}
	return 1
}

// escape interprets an escape sequence: ESC [ parameters letter.
func (s *Screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != '[' {
		s.unsupported = append(s.unsupported, strconv.Quote(string(b[:2])))
		return 2
	}
	end := slices.IndexFunc(b[2:], func(c byte) bool { return 0x40 <= c && c <= 0x7e })
	if end < 0 {
		return 0
	}
	parameters, letter := string(b[2:2+end]), b[2+end]
	n, err := strconv.Atoi(parameters)
	if err != nil || n == 0 {
		n = 1
	}
	switch {
	case letter == 'm':
	case letter == 'A':
		s.x, s.y = min(s.x, s.columns-1), max(s.y-n, 0)
	case letter == 'B':
		s.x, s.y = min(s.x, s.columns-1), min(s.y+n, s.rows-1)
	case letter == 'K' && parameters == "":
		s.eraseFrom(min(s.x, s.columns-1), s.y)
	case letter == 'K' && parameters == "2":
		s.grid[s.y] = row{}
	case letter == 'J' && parameters == "":
		if s.x == 0 && s.y == 0 {
			s.history = append(s.history, s.grid...)
		}
		s.eraseFrom(min(s.x, s.columns-1), s.y)
		for y := s.y + 1; y < s.rows; y++ {
			s.grid[y] = row{}
		}
	case parameters == "?7" && (letter == 'h' || letter == 'l'):
		s.noWrap = letter == 'l'
	case parameters == "?25" && (letter == 'h' || letter == 'l'):
		s.hidden = letter == 'l'
	case parameters == "?2026" && (letter == 'h' || letter == 'l'):
	default:
		s.unsupported = append(s.unsupported, strconv.Quote(string(b[:3+end])))
	}
	return 3 + end
}

func (s *Screen) eraseFrom(x, y int) {
	r := &s.grid[y]
	r.cells = r.cells[:min(x, len(r.cells))]
	r.wrapped = false
}

func (s *Screen) lineFeed(wrapped bool) {
	s.grid[s.y].wrapped = wrapped
	if s.y++; s.y == s.rows {
		s.history = append(s.history, s.grid[0])
		s.grid = append(s.grid[1:], row{})
		s.y--
	}
}

// put writes a character at the cursor.
func (s *Screen) put(r rune) {
	w := runeWidth(r)
	if w == 0 {
		if cells := s.grid[s.y].cells; s.x > 0 && s.x <= len(cells) {
			cells[s.x-1] += string(r)
		}
		return
	}
	if s.x+w > s.columns {
		if s.noWrap {
			s.x = s.columns - w
		} else {
			s.lineFeed(true)
			s.x = 0
		}
	}
	line := &s.grid[s.y]
	for len(line.cells) < s.x+w {
		line.cells = append(line.cells, " ")
	}
	line.cells[s.x] = string(r)
	if w == 2 {
		line.cells[s.x+1] = ""
	}
	s.x += w
	if s.noWrap {
		s.x = min(s.x, s.columns-1)
	}
}

// runeWidth returns the number of columns of a character.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case 0x1100 <= r && r <= 0x115f, 0x2e80 <= r && r <= 0xa4cf, 0xac00 <= r && r <= 0xd7a3, 0xf900 <= r && r <= 0xfaff,
		0xfe30 <= r && r <= 0xfe6f, 0xff00 <= r && r <= 0xff60, 0xffe0 <= r && r <= 0xffe6,
		0x1f300 <= r && r <= 0x1f64f, 0x1f680 <= r && r <= 0x1f6ff, 0x1f900 <= r && r <= 0x1f9ff, 0x20000 <= r && r <= 0x3fffd:
		return 2
	}
	return 1
}

// Resize changes the size of the screen, first the height.
func (s *Screen) Resize(columns, rows int) {
	for ; s.rows > rows; s.rows-- {
		if s.y < s.rows-1 { // remove rows below the cursor first
			s.grid = s.grid[:s.rows-1]
			continue
		}
		s.history = append(s.history, s.grid[0])
		s.grid = s.grid[1:]
		s.y--
	}
	for ; s.rows < rows; s.rows++ {
		if n := len(s.history); n > 0 {
			s.grid = append([]row{s.history[n-1]}, s.grid...)
			s.history = s.history[:n-1]
			s.y++
		} else {
			s.grid = append(s.grid, row{})
		}
	}
	if columns != s.columns {
		s.reflow(columns)
	}
}

// reflow wraps all lines again. The cursor stays at its character.
func (s *Screen) reflow(columns int) {
	var all []row
	cursor := len(s.history) + s.y
	var x, y int
	joined := row{}
	offset := 0
	for i, r := range slices.Concat(s.history, s.grid) {
		if i == cursor {
			offset = len(joined.cells) + min(s.x, len(r.cells))
			x, y = offset%columns, len(all)+offset/columns
		}
		joined.cells = append(joined.cells, r.cells...)
		if r.wrapped {
			continue
		}
		for len(joined.cells) > columns {
			all = append(all, row{joined.cells[:columns:columns], true})
			joined.cells = joined.cells[columns:]
		}
		all = append(all, joined)
		joined = row{}
	}
	top := max(len(all)-s.rows, 0)
	s.history, s.grid = all[:top:top], all[top:]
	for len(s.grid) < s.rows {
		s.grid = append(s.grid, row{})
	}
	s.x, s.y, s.columns = x, max(y-top, 0), columns
}

func (s *Screen) String() string {
	return fmt.Sprintf("%s\n(cursor at %d,%d)", strings.Join(s.Lines(), "\n"), s.x, s.y)
}
