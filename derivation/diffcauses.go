package derivation

import (
	"slices"
	"strconv"
	"strings"

	"pix/storepath"
)

// A Cause is a difference that follows from no other: a change that is not a consequence, or an input that only one of the
// two has, that is used for other outputs, or that could not be compared.
type Cause struct {
	In     *Difference      // the pair of derivations
	Name   string           // the name of the derivation, of A if they differ
	Change *Change          // or nil
	Input  *InputDifference // or nil
}

// String returns the cause in words, such as "variable version of openssl-3.4.0".
func (c *Cause) String() string {
	what := ""
	if c.Change != nil {
		what = strings.TrimSuffix(c.Change.Field.String()+" "+c.Change.Key, " ")
	} else {
		what = "input " + c.Input.Name
	}
	if c.Name == "" {
		return what
	}
	return what + " of " + c.Name
}

// Causes returns the causes of a difference, from the two derivations to their inputs. If a change in an input explains
// everything, it is the only cause.
func (d *Difference) Causes() (causes []Cause) {
	seen := map[*Difference]bool{d: true}
	for todo := []*Difference{d}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		name := ""
		if d.A != "" {
			name = nameOf(d.A)
		}
		for i := range d.Changes {
			if !d.Changes[i].Consequence {
				causes = append(causes, Cause{In: d, Name: name, Change: &d.Changes[i]})
			}
		}
		for i := range d.Inputs {
			in := &d.Inputs[i]
			switch {
			case in.Difference == nil || !in.OutputsA.Equal(in.OutputsB):
				causes = append(causes, Cause{In: d, Name: name, Input: in})
			}
			if in.Difference != nil && !seen[in.Difference] {
				seen[in.Difference] = true
				todo = append(todo, in.Difference)
			}
		}
	}
	return causes
}

// explain marks the changes that follow from others. outputs returns, for an input of a or of b, the names of its outputs
// and the texts that stand for them, which are paths or placeholders. It may be nil.
func (d *Difference) explain(a, b *Derivation, outputs func(side int, path storepath.Path) []Entry[string, string]) {
	same := d.replacers(a, b, outputs)
	hasOtherPaths := len(d.Inputs) > 0 || slices.ContainsFunc(d.Changes, func(c Change) bool { return c.Field == DiffSource })
	for i := range d.Changes {
		c := &d.Changes[i]
		switch {
		case !c.InA || !c.InB || c.Field == DiffSource:
			c.Consequence = false // the contents of a source differ
		case c.Field == DiffOutput && differOnlyInDeferral(a, b, c.Key):
			c.Consequence = len(d.Inputs) > 0
		case same[0].Replace(c.A) == same[1].Replace(c.B):
			c.Consequence = true
		default:
			// The path of an input that could not be loaded, or of an output of an input of an input.
			c.Consequence = c.HashesOnly && hasOtherPaths
		}
	}
}

// differOnlyInDeferral reports whether an output is input-addressed in one of two derivations and deferred in the other.
// The inputs decide which of the two it is.
func differOnlyInDeferral(a, b *Derivation, output string) bool {
	x, _ := a.Outputs.Get(output)
	y, _ := b.Outputs.Get(output)
	return x.kind == Deferred && y.kind == InputAddressed || x.kind == InputAddressed && y.kind == Deferred
}

// replacers returns a replacer for each side. It replaces paths that differ between the sides by equal tokens, so that only
// other differences remain.
func (d *Difference) replacers(a, b *Derivation, outputs func(side int, path storepath.Path) []Entry[string, string]) (same [2]*strings.Replacer) {
	var pairs [2][]string
	add := func(side int, text, token string) {
		if text != "" {
			pairs[side] = append(pairs[side], text, "\x00"+token+"\x00")
		}
	}
	for side, drv := range []*Derivation{a, b} {
		for name, o := range drv.Outputs.All() {
			add(side, string(o.path), "output "+name)
		}
	}
	for i := range d.Inputs {
		in := &d.Inputs[i]
		for side, path := range []storepath.Path{in.A, in.B} {
			if path == "" || in.A == in.B {
				continue
			}
			token := "input " + strconv.Itoa(i)
			add(side, string(path), token)
			if outputs == nil {
				continue
			}
			for _, o := range outputs(side, path) {
				add(side, o.Value, token+" "+o.Key)
			}
		}
	}
	for i := range d.Changes {
		if c := &d.Changes[i]; c.Field == DiffSource && c.InA && c.InB {
			add(0, c.A, "source "+strconv.Itoa(i))
			add(1, c.B, "source "+strconv.Itoa(i))
		}
	}
	for side := range same {
		same[side] = strings.NewReplacer(pairs[side]...)
	}
	return same
}
