package main

import (
	"fmt"
	"strings"

	"pix/derivation"
	"pix/internal/printable"
	"pix/storepath"
)

// drvDiffText returns a difference as text; "" if there is none. sources may be nil.
func drvDiffText(d *derivation.Difference, sources *sourceComparer, colour bool) string {
	if d.IsEmpty() {
		return ""
	}
	p := &drvDiffPrinter{colour: colour, sources: sources, printed: map[*derivation.Difference]bool{}}
	p.pair(string(d.A), string(d.B))
	if causes := d.Causes(); len(causes) > 0 {
		p.line("because: " + causeText(causes))
	}
	p.difference(d)
	return p.b.String()
}

// causeText returns the causes on one line.
func causeText(causes []derivation.Cause) string {
	const most = 8
	var texts []string
	for _, c := range causes[:min(most, len(causes))] {
		text := c.String()
		if c.Input != nil && c.Input.Err != nil {
			text += " (not compared)"
		}
		texts = append(texts, oneLine(visible(text)))
	}
	if n := len(causes) - most; n > 0 {
		texts = append(texts, fmt.Sprintf("%d more", n))
	}
	return strings.Join(texts, "; ")
}

// A drvDiffPrinter prints differences, each once. The differences of inputs are indented.
type drvDiffPrinter struct {
	b       strings.Builder
	depth   int
	colour  bool
	sources *sourceComparer
	printed map[*derivation.Difference]bool
}

// maxIndent is the largest indentation, in levels.
const maxIndent = 30

func (p *drvDiffPrinter) line(s string) {
	p.b.WriteString(strings.Repeat("  ", min(p.depth, maxIndent)))
	p.b.WriteString(s)
	p.b.WriteByte('\n')
}

// paint returns s in the colour for a removed or added text.
func (p *drvDiffPrinter) paint(kind derivation.EditKind, s string) string {
	switch {
	case p.colour && kind == derivation.EditRemoved:
		return "\x1b[31m" + s + "\x1b[m"
	case p.colour && kind == derivation.EditAdded:
		return "\x1b[32m" + s + "\x1b[m"
	}
	return s
}

// pair prints a removed and an added text, except empty ones.
func (p *drvDiffPrinter) pair(a, b string) {
	if a != "" {
		p.line(p.paint(derivation.EditRemoved, "- "+a))
	}
	if b != "" {
		p.line(p.paint(derivation.EditAdded, "+ "+b))
	}
}

// difference prints a difference, and below each input its own difference. It keeps its own stack, because a chain
// of inputs may be longer than the stack of a goroutine.
func (p *drvDiffPrinter) difference(root *derivation.Difference) {
	type frame struct {
		d    *derivation.Difference
		next int // the index of the next input
	}
	stack := []frame{{d: root}}
	p.changes(root)
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		p.depth = len(stack) - 1
		if top.next == len(top.d.Inputs) {
			stack = stack[:len(stack)-1]
			continue
		}
		in := &top.d.Inputs[top.next]
		top.next++
		if p.input(in) {
			p.depth = len(stack)
			p.changes(in.Difference)
			stack = append(stack, frame{d: in.Difference})
		}
	}
}

// changes prints the fields that differ, and the names of fields that differ in consequence.
func (p *drvDiffPrinter) changes(d *derivation.Difference) {
	p.printed[d] = true
	var consequences []string
	for i := range d.Changes {
		c := &d.Changes[i]
		if c.Consequence {
			consequences = append(consequences, changeName(c))
			continue
		}
		p.change(c)
	}
	if len(consequences) > 0 {
		p.line("• In consequence differ: " + strings.Join(consequences, ", "))
	}
}

// changeName returns the name of a changed field, such as "variable src".
func changeName(c *derivation.Change) string {
	return strings.TrimSuffix(c.Field.String()+" "+oneLine(visible(c.Key)), " ")
}

func (p *drvDiffPrinter) change(c *derivation.Change) {
	name := changeName(c)
	switch {
	case !c.InB:
		p.line("• The " + name + " is only in the first:")
	case !c.InA:
		p.line("• The " + name + " is only in the second:")
	default:
		p.line("• The " + name + " differs:")
	}
	p.depth++
	defer func() { p.depth-- }()
	const short = 80
	if c.InA && c.InB && (max(len(c.A), len(c.B)) > short || strings.Contains(c.A+c.B, "\n")) {
		p.edits(c.Edits())
		return
	}
	if c.InA {
		p.line(p.paint(derivation.EditRemoved, "- "+quoteEmpty(c.A)))
	}
	if c.InB {
		p.line(p.paint(derivation.EditAdded, "+ "+quoteEmpty(c.B)))
	}
	if c.Field == derivation.DiffSource {
		p.source(c)
	}
}

// quoteEmpty returns "" in quotes for an empty text, and other texts on one line without control characters.
func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return visible(strings.ReplaceAll(s, "\n", `\n`))
}

// edits prints the words that differ in a long text, and the beginnings and ends of the texts between them. Without
// colours removed words are in [- -] and added words in {+ +}, as in wdiff.
func (p *drvDiffPrinter) edits(edits []derivation.Edit) {
	var b strings.Builder
	for i, e := range edits {
		switch text := visible(e.Text); {
		case e.Kind == derivation.EditSame:
			b.WriteString(shorten(text, i == 0, i == len(edits)-1))
		case p.colour:
			b.WriteString(p.paint(e.Kind, text))
		case e.Kind == derivation.EditRemoved:
			b.WriteString("[-" + text + "-]")
		case e.Kind == derivation.EditAdded:
			b.WriteString("{+" + text + "+}")
		}
	}
	for line := range strings.Lines(b.String()) {
		p.line("  " + strings.TrimSuffix(line, "\n"))
	}
}

// shorten returns only the ends of a long text that are next to a difference.
func shorten(s string, first, last bool) string {
	const kept = 60 // bytes at each end
	if len(s) <= 2*kept {
		return s
	}
	begin, end := strings.ToValidUTF8(s[:kept], ""), strings.ToValidUTF8(s[len(s)-kept:], "")
	switch {
	case first:
		return "…" + end
	case last:
		return begin + "…"
	}
	return begin + "…" + end
}

// visible replaces control characters, except line feeds, and invalid UTF-8 with escapes.
func visible(s string) string { return printable.Escape(s) }

// input prints an input that differs, and reports whether its own difference must be printed next.
func (p *drvDiffPrinter) input(in *derivation.InputDifference) (descend bool) {
	switch {
	case in.B == "":
		p.line("• The input " + in.Name + " is only in the first:")
	case in.A == "":
		p.line("• The input " + in.Name + " is only in the second:")
	case in.A == in.B:
		p.line("• Other outputs of the input " + in.Name + " are used:")
	default:
		p.line("• The input " + in.Name + " differs:")
	}
	p.depth++
	p.pair(inputText(in.A, in.OutputsA), inputText(in.B, in.OutputsB))
	switch {
	case in.Err != nil:
		p.line("• Not compared: " + visible(in.Err.Error()))
	case in.Difference == nil:
	case p.printed[in.Difference]:
		p.line("• These two have already been compared.")
	default:
		descend = true
	}
	return descend
}

// inputText returns a path with the used outputs, such as PATH:{out}; "" for no path.
func inputText(path storepath.Path, used derivation.InputOutputs) string {
	if path == "" {
		return ""
	}
	return string(path) + ":{" + visible(strings.Join(usedOutputs(used), ",")) + "}"
}

// usedOutputs returns the names of the used outputs. A caret follows the name of an output that is a derivation
// itself whose outputs are used.
func usedOutputs(used derivation.InputOutputs) []string {
	names := used.Names.Slice()
	for name := range used.Dynamic.Keys() {
		names = append(names, name+"^")
	}
	return names
}
