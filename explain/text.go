package explain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"pix/internal/printable"
)

// TextOptions are the options of the text form. A nil pointer is the zero value.
type TextOptions struct {
	Color bool // with escape sequences for the colours of a terminal

	// Full shows texts and lists of any length. Otherwise a long text is cut in the middle, and a long list at its end.
	Full bool

	// Columns is the width to which sentences are wrapped; 0 does not wrap them. Values are not wrapped, so that they can be copied.
	Columns int
}

// The limits of the text form without [TextOptions.Full].
const (
	maxShownText  = 2000 // bytes of the text of a step
	maxShownValue = 200  // bytes of the value of an input
	maxShownList  = 24   // elements of a list
)

// AppendText appends the explanation as text to dst. Each line feed, control character and byte that is not UTF-8 of the explained
// object is escaped.
func (e *Explanation) AppendText(dst []byte, o *TextOptions) []byte {
	if o == nil {
		o = &TextOptions{}
	}
	p := textPrinter{dst: dst, options: o}
	p.line(0, p.paint(bold, printable.Line(e.Subject)))
	p.line(0, e.Kind)
	for i := range e.Steps {
		p.step(i+1, &e.Steps[i])
	}
	for _, problem := range e.Problems {
		p.dst = append(p.dst, '\n')
		p.prose(0, red, "problem: ", printable.Line(problem))
	}
	return p.dst
}

// A textPrinter writes the text form.
type textPrinter struct {
	dst     []byte
	options *TextOptions
}

// A paintCode is the code of a colour or style of a terminal.
type paintCode string

const (
	bold  paintCode = "1"
	dim   paintCode = "2"
	red   paintCode = "31"
	green paintCode = "32"
	cyan  paintCode = "36"
)

// paint returns s, which must be escaped, in a colour.
func (p *textPrinter) paint(c paintCode, s string) string {
	if !p.options.Color || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

func (p *textPrinter) line(indent int, s string) {
	p.dst = append(p.dst, strings.Repeat(" ", indent)...)
	p.dst = append(append(p.dst, s...), '\n')
}

// prose prints escaped text, whose beginning is colored, and wraps it at the columns of the options. It does not break words.
func (p *textPrinter) prose(indent int, c paintCode, colored, plain string) {
	if p.options.Columns <= 0 {
		p.line(indent, p.paint(c, colored)+plain)
		return
	}
	var line string
	columns, painted := 0, len(strings.Fields(colored))
	for i, word := range strings.Fields(colored + plain) {
		n := utf8.RuneCountInString(word)
		if columns > 0 && indent+columns+1+n > p.options.Columns {
			p.line(indent, line)
			line, columns = "", 0
		}
		if columns > 0 {
			line += " "
			columns++
		}
		if i < painted {
			word = p.paint(c, word)
		}
		line += word
		columns += n
	}
	p.line(indent, line)
}

func (p *textPrinter) step(number int, s *Step) {
	title := s.Title
	if s.Output != "" {
		title += s.about()
	}
	p.dst = append(p.dst, '\n')
	p.line(0, p.paint(bold, strconv.Itoa(number)+". "+title))
	p.prose(3, dim, s.Why, "")
	p.inputs(s.Inputs)
	switch {
	case s.Op == OpShow:
	case s.Op == OpVerify:
		p.line(3, "= "+p.paint(verdictColor(s.Result), s.Result))
	case s.Op == OpJoin:
		p.line(3, "= "+p.paint(green, p.cut(s.Result, maxShownText)))
	default:
		p.line(3, string(s.Op)+": "+p.text(s))
		p.line(3, "= "+p.paint(green, s.Result))
	}
}

// about returns the output or key that a step is about, in parentheses.
func (s *Step) about() string {
	what := "output"
	if s.Op == OpVerify {
		what = "key"
	}
	return " (" + what + " " + printable.Line(s.Output) + ")"
}

func verdictColor(result string) paintCode {
	if result == ResultValid {
		return green
	}
	return red
}

// shownOf returns how many elements of a list are shown.
func (p *textPrinter) shownOf(n int) int {
	if p.options.Full {
		return n
	}
	return min(n, maxShownList)
}

// more prints how many elements of a list are not shown.
func (p *textPrinter) more(n int) {
	if n > 0 {
		p.line(3, fmt.Sprintf("- and %d more", n))
	}
}

func (p *textPrinter) inputs(inputs []Input) {
	shown := inputs[:p.shownOf(len(inputs))]
	for _, in := range shown {
		text := "- " + p.cut(in.Name, maxShownValue) + ": "
		switch {
		case in.From > 0:
			text += p.paint(cyan, p.cut(in.Value, maxShownValue)) + fmt.Sprintf(" (step %d)", in.From)
		case in.Value == "":
			text += p.paint(dim, "(empty)")
		default:
			text += p.cut(in.Value, maxShownValue)
		}
		if in.Reason != "" {
			text += " (" + in.Reason + ")"
		}
		if in.Note != "" {
			text += ": " + p.cut(in.Note, maxShownText)
		}
		p.line(3, text)
	}
	p.more(len(inputs) - len(shown))
}

// text returns the text of a step, in which the results of earlier steps have a colour.
func (p *textPrinter) text(s *Step) string {
	if !p.options.Full && len(s.Text) > maxShownText {
		return p.cut(s.Text, maxShownText)
	}
	var b strings.Builder
	for _, part := range s.parts() {
		if part.from > 0 {
			b.WriteString(p.paint(cyan, printable.Line(part.text)))
		} else {
			b.WriteString(printable.Line(part.text))
		}
	}
	return b.String()
}

// cut escapes s, and cuts it in the middle if it has more than limit bytes.
func (p *textPrinter) cut(s string, limit int) string {
	if p.options.Full || len(s) <= limit {
		return printable.Line(s)
	}
	head, tail := s[:limit*3/4], s[len(s)-limit/4:]
	for len(head) > 0 && !utf8.RuneStart(s[len(head)]) {
		head = head[:len(head)-1]
	}
	for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	left := len(s) - len(head) - len(tail)
	return printable.Line(head) + fmt.Sprintf("…[%d of %d bytes left out]…", left, len(s)) + printable.Line(tail)
}
