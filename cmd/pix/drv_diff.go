package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/storepath"
)

func newDrvDiff(a *app) *cobra.Command {
	var asJSON bool
	var depth int
	cmd := &cobra.Command{
		Use:   "drv-diff A B",
		Short: "Say how two .drv files differ, and their inputs",
		Long: `Say how two .drv files differ: in their outputs, platform, builder, arguments, environment,
sources and inputs; then how those inputs differ that have the same name in both, and so on.
Inputs are looked for in the directory that each file lies in, or in the store for a store path that
is no file here; a missing one is said. Each pair
is compared once. A text that differs only in the hash parts of store paths follows from
something else, and is only named. The exit code is 0 if nothing differs, and 1 if something
does.`,
		Example:           "  pix drv-diff /nix/store/...-hello-2.10.drv /nix/store/...-hello-2.12.drv",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completeDrvFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			options := &derivation.DiffOptions{Depth: depth}
			switch {
			case depth == 0:
				options.Depth = -1 // no inputs
			case depth < 0:
				options.Depth = 0 // all
			}
			d, err := a.diffFiles(cmd, args, options)
			if err != nil {
				return err
			}
			text := diffText(d, isTerminal(a.stdout) && a.getenv("NO_COLOR") == "")
			if asJSON {
				if text, err = diffJSON(d); err != nil {
					return err
				}
			}
			if err := a.print(text); err != nil {
				return err
			}
			if !d.IsEmpty() {
				return &silentError{exitNo}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the differences as JSON")
	cmd.Flags().IntVar(&depth, "depth", -1, "look only into `N` levels of inputs (default all)")
	cmd.Flags().Lookup("depth").DefValue = "0" // which is not printed: the text says it
	freeValue(cmd, "depth")
	return cmd
}

// diffFiles compares two files. That one cannot be read is not an answer.
func (a *app) diffFiles(cmd *cobra.Command, files []string, o *derivation.DiffOptions) (*derivation.Difference, error) {
	var d *derivation.Difference
	err := a.withDerivations(func(src *drvSource) error {
		var both [2]*sourceDrv
		for i, file := range files {
			var err error
			if both[i], err = src.readNamed(cmd.Context(), file); err != nil {
				return &unknownError{err}
			}
		}
		var err error
		d, err = derivation.DiffClosure(cmd.Context(), both[0].Derivation, both[0].inputs, both[1].Derivation, both[1].inputs, o)
		if err == nil {
			d.A, d.B = both[0].path, both[1].path
		}
		return err
	})
	return d, err
}

// diffText returns what is printed of a difference; nothing if there is none.
func diffText(d *derivation.Difference, colour bool) string {
	if d.IsEmpty() {
		return ""
	}
	p := &diffPrinter{colour: colour, printed: map[*derivation.Difference]bool{}}
	p.pair(string(d.A), string(d.B))
	p.difference(d)
	return p.b.String()
}

// A diffPrinter prints differences, each once, those of inputs indented.
type diffPrinter struct {
	b       strings.Builder
	depth   int
	colour  bool
	printed map[*derivation.Difference]bool
}

// deepest is the level beyond which nothing is indented more.
const deepest = 30

func (p *diffPrinter) line(s string) {
	p.b.WriteString(strings.Repeat("  ", min(p.depth, deepest)))
	p.b.WriteString(s)
	p.b.WriteByte('\n')
}

// paint returns s as what is only in one of the two.
func (p *diffPrinter) paint(kind derivation.EditKind, s string) string {
	switch {
	case p.colour && kind == derivation.EditRemoved:
		return "\x1b[31m" + s + "\x1b[m"
	case p.colour && kind == derivation.EditAdded:
		return "\x1b[32m" + s + "\x1b[m"
	}
	return s
}

// pair prints two short texts, each unless it is empty.
func (p *diffPrinter) pair(a, b string) {
	if a != "" {
		p.line(p.paint(derivation.EditRemoved, "- "+a))
	}
	if b != "" {
		p.line(p.paint(derivation.EditAdded, "+ "+b))
	}
}

// difference prints a difference and those of the inputs. A chain of inputs may be long,
// so those that are being printed are on a list and not on the stack.
func (p *diffPrinter) difference(root *derivation.Difference) {
	type step struct {
		d    *derivation.Difference
		next int // the input to look at
	}
	way := []step{{d: root}}
	p.changes(root)
	for len(way) > 0 {
		here := &way[len(way)-1]
		p.depth = len(way) - 1
		if here.next == len(here.d.Inputs) {
			way = way[:len(way)-1]
			continue
		}
		in := &here.d.Inputs[here.next]
		here.next++
		if p.input(in) {
			p.depth = len(way)
			p.changes(in.Difference)
			way = append(way, step{d: in.Difference})
		}
	}
}

// changes prints the fields that differ, and says which differ only in hash parts.
func (p *diffPrinter) changes(d *derivation.Difference) {
	p.printed[d] = true
	var follow []string
	for i := range d.Changes {
		c := &d.Changes[i]
		if c.HashesOnly {
			follow = append(follow, changeName(c))
			continue
		}
		p.change(c)
	}
	if len(follow) > 0 {
		p.line("• Only hash parts of store paths differ in: " + strings.Join(follow, ", "))
	}
}

// changeName returns what a change is called: "variable src".
func changeName(c *derivation.Change) string {
	return strings.TrimSuffix(c.Field.String()+" "+visible(c.Key), " ")
}

func (p *diffPrinter) change(c *derivation.Change) {
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
}

// quoteEmpty makes an empty text visible, and all others if they have what could do harm
// to a terminal.
func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return visible(strings.ReplaceAll(s, "\n", `\n`))
}

// edits prints a long text in which some words differ, without most of what is the same.
// What is removed stands in [- -] and what is added in {+ +}, as in wdiff, unless there
// are colours to tell them.
func (p *diffPrinter) edits(edits []derivation.Edit) {
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

// shorten leaves only the ends of a text next to what differs.
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

// visible replaces what a terminal would not print as it is, but for line feeds.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\n', 0x7f <= r && r < 0xa0:
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteString(s[i : i+size])
		}
	}
	return b.String()
}

// input prints an input that differs, and reports whether its own difference is to be
// printed now.
func (p *diffPrinter) input(in *derivation.InputDifference) (descend bool) {
	switch {
	case in.B == "":
		p.line("• The input " + in.Name + " is only in the first:")
	case in.A == "":
		p.line("• The input " + in.Name + " is only in the second:")
	case in.A == in.B:
		p.line("• Of the input " + in.Name + " other outputs are used:")
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

// inputText returns a path with the outputs that are used: PATH:{out}; "" for none.
func inputText(path storepath.Path, used derivation.InputOutputs) string {
	if path == "" {
		return ""
	}
	return string(path) + ":{" + visible(strings.Join(usedOutputs(used), ",")) + "}"
}

// usedOutputs returns the names of the outputs that are used. Those of which the outputs
// of a dynamic derivation are used have a caret after them.
func usedOutputs(used derivation.InputOutputs) []string {
	names := used.Names.Slice()
	for name := range used.Dynamic.Keys() {
		names = append(names, name+"^")
	}
	return names
}

// The JSON forms.
type (
	diffDocument struct {
		Equal       bool             `json:"equal"`
		Comparisons []diffComparison `json:"comparisons"`
	}
	diffComparison struct {
		A       storepath.Path `json:"a"`
		B       storepath.Path `json:"b"`
		Changes []diffChange   `json:"changes"`
		Inputs  []diffInput    `json:"inputs"`
	}
	diffChange struct {
		Field      string      `json:"field"`
		Key        string      `json:"key"`
		A          *string     `json:"a"`
		B          *string     `json:"b"`
		HashesOnly bool        `json:"hashesOnly"`
		Edits      [][2]string `json:"edits"`
	}
	diffInput struct {
		Name     string   `json:"name"`
		A        *diffUse `json:"a"`
		B        *diffUse `json:"b"`
		Compared bool     `json:"compared"`
		Error    *string  `json:"error"`
	}
	diffUse struct {
		Path    storepath.Path `json:"path"`
		Outputs []string       `json:"outputs"`
	}
)

// diffJSON returns all comparisons, each before those of its inputs.
func diffJSON(root *derivation.Difference) (string, error) {
	document := diffDocument{Equal: root.IsEmpty()}
	seen := map[*derivation.Difference]bool{root: true}
	for todo := []*derivation.Difference{root}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		document.Comparisons = append(document.Comparisons, comparisonJSON(d))
		for _, in := range d.Inputs {
			if in.Difference != nil && !seen[in.Difference] {
				seen[in.Difference] = true
				todo = append(todo, in.Difference)
			}
		}
	}
	return marshalJSON(document)
}

func comparisonJSON(d *derivation.Difference) diffComparison {
	c := diffComparison{A: d.A, B: d.B, Changes: []diffChange{}, Inputs: []diffInput{}}
	for i := range d.Changes {
		c.Changes = append(c.Changes, changeJSON(&d.Changes[i]))
	}
	for _, in := range d.Inputs {
		j := diffInput{Name: in.Name, A: useJSON(in.A, in.OutputsA), B: useJSON(in.B, in.OutputsB), Compared: in.Difference != nil}
		if in.Err != nil {
			message := in.Err.Error()
			j.Error = &message
		}
		c.Inputs = append(c.Inputs, j)
	}
	return c
}

func changeJSON(c *derivation.Change) diffChange {
	j := diffChange{Field: c.Field.String(), Key: c.Key, HashesOnly: c.HashesOnly, Edits: [][2]string{}}
	if c.InA {
		j.A = &c.A
	}
	if c.InB {
		j.B = &c.B
	}
	for _, e := range c.Edits() {
		j.Edits = append(j.Edits, [2]string{e.Kind.String(), e.Text})
	}
	return j
}

func useJSON(path storepath.Path, used derivation.InputOutputs) *diffUse {
	if path == "" {
		return nil
	}
	return &diffUse{path, usedOutputs(used)}
}
