package termtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Screen is what a terminal shows. It behaves as tmux does where terminals differ: it
// wraps lines anew when it is resized, takes lines back from its history when it becomes
// higher, and a character at the margin leaves the cursor there until the next one comes.
type Screen struct {
	columns, rows int
	grid          []row
	history       []row
	x, y          int // of the cursor; x is columns if it waits at the margin
	noWrap        bool
	hidden        bool   // the cursor is
	rest          []byte // of what was written, not yet understood
	wrong         []string
}

// A row is a row of cells. A wide character has two, of which the second is "".
type row struct {
	cells   []string
	wrapped bool // goes on in the next row
}

// NewScreen returns an empty screen.
func NewScreen(columns, rows int) *Screen {
	return &Screen{columns: columns, rows: rows, grid: make([]row, rows)}
}

// Lines returns what is shown, without blanks at the ends of lines and empty lines at the end.
func (s *Screen) Lines() []string { return textOf(s.grid) }

// History returns what has left the screen at its top.
func (s *Screen) History() []string { return textOf(s.history) }

// Cursor returns where the cursor is, from 0, and whether it is shown.
func (s *Screen) Cursor() (x, y int, shown bool) { return s.x, s.y, !s.hidden }

// Wraps reports whether what is too long goes on in the next line, as is usual.
func (s *Screen) Wraps() bool { return !s.noWrap }

// Wrong returns what was written that a terminal may not understand.
func (s *Screen) Wrong() []string { return s.wrong }

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

// Write takes in what is written to the terminal. It never fails.
func (s *Screen) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for len(s.rest) > 0 {
		n := s.take(s.rest)
		if n == 0 {
			break // more has to come
		}
		s.rest = s.rest[n:]
	}
	return len(p), nil
}

// take does what the next character or sequence says, and returns its length.
func (s *Screen) take(b []byte) int {
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
		s.wrong = append(s.wrong, strconv.Quote(string(c)))
	case !utf8.FullRune(b):
		return 0
	default:
		r, n := utf8.DecodeRune(b)
		s.put(r)
		return n
	}
	return 1
}

// escape does what a sequence says: ESC [ parameters letter.
func (s *Screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != '[' {
		s.wrong = append(s.wrong, strconv.Quote(string(b[:2])))
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
		s.wrong = append(s.wrong, strconv.Quote(string(b[:3+end])))
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

// put writes a character.
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

// runeWidth returns how many columns a terminal gives a character.
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

// Resize gives the screen another size, first in height.
func (s *Screen) Resize(columns, rows int) {
	for ; s.rows > rows; s.rows-- {
		if s.y < s.rows-1 { // what is below the cursor goes first
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

// reflow wraps all lines anew. The cursor stays at its character.
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
