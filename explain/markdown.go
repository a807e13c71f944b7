package explain

import (
	"fmt"
	"strings"

	"pix/internal/printable"
)

// AppendMarkdown appends the explanation in Markdown to dst: a heading, a list of inputs and the text for each step. The bytes of the
// explained object are only in code, so they are not markup. Long texts and lists are cut as by [Explanation.AppendText] if full
// is false.
func (e *Explanation) AppendMarkdown(dst []byte, full bool) []byte {
	p := textPrinter{dst: dst, options: &TextOptions{Full: full}}
	p.line(0, "# "+code(printable.Line(e.Subject))+"\n\nKind: "+e.Kind)
	for i := range e.Steps {
		p.markdownStep(i+1, &e.Steps[i])
	}
	for _, problem := range e.Problems {
		p.line(0, "\n**Problem:** "+code(printable.Line(problem)))
	}
	return p.dst
}

func (p *textPrinter) markdownStep(number int, s *Step) {
	title := s.Title
	if s.Output != "" {
		title += ", " + code(printable.Line(s.Output))
	}
	p.line(0, fmt.Sprintf("\n## %d. %s\n\n%s\n", number, title, s.Why))
	shown := s.Inputs[:p.shownOf(len(s.Inputs))]
	for _, in := range shown {
		text := "- " + code(p.cut(in.Name, maxShownValue)) + ": " + code(p.cut(in.Value, maxShownValue))
		if in.From > 0 {
			text += fmt.Sprintf(" (step %d)", in.From)
		}
		if in.Reason != "" {
			text += " (" + in.Reason + ")"
		}
		if in.Note != "" {
			text += ": " + code(p.cut(in.Note, maxShownText))
		}
		p.line(0, text)
	}
	if n := len(s.Inputs) - len(shown); n > 0 {
		p.line(0, fmt.Sprintf("- and %d more", n))
	}
	switch s.Op {
	case OpShow:
	case OpVerify, OpJoin:
		p.line(0, "\nResult: "+code(p.cut(s.Result, maxShownText)))
	default:
		p.line(0, "\n"+string(s.Op)+": "+code(p.cut(s.Text, maxShownText))+"\n\nResult: "+code(s.Result))
	}
}

// longestRun returns the length of the longest run of a byte.
func longestRun(s string, c byte) (longest int) {
	run := 0
	for i := range len(s) {
		if run++; s[i] != c {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// code returns a text, which has no line feeds, as code in Markdown. The fence is longer than each run of backquotes in the text.
func code(s string) string {
	if s == "" {
		return "(empty)"
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " "
	}
	return fence + s + fence
}
