package explain

import (
	"fmt"
	"strings"

	"pix/derivation"
	"pix/internal/exactjson"
	"pix/internal/printable"
	"pix/storepath"
)

// AppendText appends the causes of the rebuild, with the changed values, and the derivations of the cascade as text to dst.
// Unless the options have Full, it counts many causes of one kind, and shows the first of them. All bytes of the derivations are
// escaped.
func (r *Rebuild) AppendText(dst []byte, o *TextOptions) []byte {
	if o == nil {
		o = &TextOptions{}
	}
	p := textPrinter{dst: dst, options: o}
	p.line(0, p.paint(red, "- "+printable.Line(string(r.Old))))
	p.line(0, p.paint(green, "+ "+printable.Line(string(r.New))))
	if r.Same {
		p.line(0, "The outputs have the same paths.")
		return p.dst
	}
	p.line(0, p.paint(bold, fmt.Sprintf("causes: %d", len(r.Causes))))
	p.causes(r.Causes)
	p.paths(fmt.Sprintf("built again only because of their inputs: %d", len(r.Cascade)), r.Cascade)
	return p.dst
}

// cause prints a cause after a prefix, and more about it with the indentation of the prefix.
func (p *textPrinter) cause(indent int, prefix string, c *RootCause) {
	title := printable.Line(c.String())
	if c.Input != nil && c.Input.Err != nil {
		title += " (not compared)"
	}
	p.line(indent, prefix+title)
	indent += 3
	if len(c.Chain) > 1 {
		var names []string
		for _, path := range c.Chain {
			names = append(names, strings.TrimSuffix(path.Name(), storepath.DerivationExt))
		}
		p.line(indent, "through "+p.cut(strings.Join(names, " <- "), maxShownText))
	}
	a, b, inA, inB := c.values()
	if inA && inB && len(a)+len(b) > maxShownValue && !p.options.Full {
		n := commonPrefix(a, b)
		a, b = "…"+tailOf(a[:n])+a[n:], "…"+tailOf(b[:n])+b[n:]
	}
	if inA {
		p.line(indent, p.paint(red, "- "+p.cut(a, maxShownText)))
	}
	if inB {
		p.line(indent, p.paint(green, "+ "+p.cut(b, maxShownText)))
	}
}

// values returns what the old and the new derivation have, and whether they have it.
func (c *RootCause) values() (a, b string, inA, inB bool) {
	if c.Change != nil {
		return c.Change.A, c.Change.B, c.Change.InA, c.Change.InB
	}
	return inputText(c.Input.A, c.Input.OutputsA), inputText(c.Input.B, c.Input.OutputsB), c.Input.A != "", c.Input.B != ""
}

// inputText returns an input with its used outputs.
func inputText(path storepath.Path, used derivation.InputOutputs) string {
	return strings.Join(derivedPaths(path, used), " ")
}

// MarshalJSON implements [json.Marshaler].
func (r *Rebuild) MarshalJSON() ([]byte, error) {
	causes, cascade := r.Causes, r.Cascade
	if causes == nil {
		causes = []RootCause{}
	}
	if cascade == nil {
		cascade = []storepath.Path{}
	}
	return exactjson.Marshal(struct {
		Old     storepath.Path   `json:"old"`
		New     storepath.Path   `json:"new"`
		Same    bool             `json:"same"`
		Causes  []RootCause      `json:"causes"`
		Cascade []storepath.Path `json:"cascade"`
	}{r.Old, r.New, r.Same, causes, cascade})
}

// MarshalJSON implements [json.Marshaler]. Bytes that are not UTF-8 are escaped.
func (c RootCause) MarshalJSON() ([]byte, error) {
	a, b, inA, inB := c.values()
	j := struct {
		What  string           `json:"what"`
		Old   *string          `json:"old"`
		New   *string          `json:"new"`
		Error *string          `json:"error"`
		Chain []storepath.Path `json:"chain"`
	}{What: printable.Escape(c.String()), Chain: c.Chain}
	if inA {
		text := printable.Escape(a)
		j.Old = &text
	}
	if inB {
		text := printable.Escape(b)
		j.New = &text
	}
	if c.Input != nil && c.Input.Err != nil {
		j.Error = orNull(c.Input.Err.Error())
	}
	return exactjson.Marshal(j)
}
