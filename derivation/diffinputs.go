package derivation

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"pix/storepath"
)

// diffInputs returns the input derivations in which a and b differ.
//
// Nothing in the derivations says which input of b replaces which input of a. diffInputs pairs inputs in
// three rounds: those with the same name and the same used outputs, then those with the same name, then
// those with the same name except for the version.
func diffInputs(a, b *Derivation) []InputDifference {
	m := &inputMatcher{}
	for path, used := range a.InputDerivations.All() {
		other, ok := b.InputDerivations.Get(path)
		switch {
		case !ok:
			m.a = append(m.a, inputUse{path, used})
		case !used.Equal(other):
			m.pair(inputUse{path, used}, inputUse{path, other})
		}
	}
	for path, used := range b.InputDerivations.All() {
		if !a.InputDerivations.Has(path) {
			m.b = append(m.b, inputUse{path, used})
		}
	}
	m.match(func(in inputUse) string { return nameOf(in.path) + "\n" + string(in.used.append(nil)) })
	m.match(func(in inputUse) string { return nameOf(in.path) })
	m.match(func(in inputUse) string { return trimVersion(nameOf(in.path)) })
	for _, in := range m.a {
		m.pair(in, inputUse{})
	}
	for _, in := range m.b {
		m.pair(inputUse{}, in)
	}
	slices.SortStableFunc(m.pairs, func(x, y InputDifference) int { return cmp.Compare(x.Name, y.Name) })
	return m.pairs
}

// An inputUse is an input derivation and its used outputs.
type inputUse struct {
	path storepath.Path
	used InputOutputs
}

// An inputMatcher pairs the inputs of two derivations.
type inputMatcher struct {
	a, b  []inputUse // inputs that are not paired yet
	pairs []InputDifference
}

func (m *inputMatcher) pair(a, b inputUse) {
	name := nameOf(a.path)
	if a.path == "" {
		name = nameOf(b.path)
	}
	m.pairs = append(m.pairs, InputDifference{Name: name, A: a.path, B: b.path, OutputsA: a.used, OutputsB: b.used})
}

// match pairs inputs for which key returns the same, in order.
func (m *inputMatcher) match(key func(inputUse) string) {
	byKey := map[string][]inputUse{}
	for _, in := range m.b {
		byKey[key(in)] = append(byKey[key(in)], in)
	}
	taken := map[storepath.Path]bool{}
	m.a = slices.DeleteFunc(m.a, func(in inputUse) bool {
		others := byKey[key(in)]
		if len(others) == 0 {
			return false
		}
		byKey[key(in)], taken[others[0].path] = others[1:], true
		m.pair(in, others[0])
		return true
	})
	m.b = slices.DeleteFunc(m.b, func(in inputUse) bool { return taken[in.path] })
}

// nameOf returns the name of a derivation without ".drv".
func nameOf(path storepath.Path) string {
	return strings.TrimSuffix(path.Name(), storepath.DerivationExt)
}

// trimVersion removes the version from a name. As in Nix, it begins at the first dash that no letter
// follows.
func trimVersion(name string) string {
	for i := 0; i+1 < len(name); i++ {
		if c := name[i+1] | 0x20; name[i] == '-' && (c < 'a' || c > 'z') {
			return name[:i]
		}
	}
	return name
}

// DiffOptions are the options of [DiffClosure]. A nil pointer is the zero value.
type DiffOptions struct {
	// Depth is the number of levels of inputs to compare. Zero means all, a negative number none.
	Depth int

	// Limits limit the inputs of each of the two derivations. Nil means the limits of its loader, as
	// for [LoadClosure].
	Limits *Limits
}

// DiffClosure compares two derivations, then the pairs of their inputs that differ, and so on. It compares
// each pair once; if a pair occurs again, it has the same [Difference]. It proceeds level by level, so a
// pair that occurs on several levels is compared if any of them is within the depth.
//
// It loads the inputs of a with loaderA and the inputs of b with loaderB, which may be the same. If an input
// is missing or cannot be parsed, [InputDifference.Err] has the error. DiffClosure itself returns only the
// cause of the cancellation of ctx or a [*LimitError].
func DiffClosure(ctx context.Context, a *Derivation, loaderA Loader, b *Derivation, loaderB Loader, o *DiffOptions) (*Difference, error) {
	if o == nil {
		o = &DiffOptions{}
	}
	c := &closureDiffer{
		a: diffSide{loaderA, newMeter(loaderA, o.Limits)}, b: diffSide{loaderB, newMeter(loaderB, o.Limits)},
		known: map[[2]storepath.Path]*InputDifference{},
	}
	root := Diff(a, b)
	for depth, level := 1, []*Difference{root}; len(level) > 0 && (o.Depth == 0 || depth <= o.Depth); depth++ {
		var next []*Difference
		for _, d := range level {
			for i := range d.Inputs {
				if err := ctx.Err(); err != nil {
					return nil, context.Cause(ctx)
				}
				first, err := c.compare(ctx, &d.Inputs[i])
				if err != nil {
					return nil, err
				}
				if first {
					next = append(next, d.Inputs[i].Difference)
				}
			}
		}
		level = next
	}
	return root, nil
}

// A closureDiffer is one run of [DiffClosure].
type closureDiffer struct {
	a, b  diffSide
	known map[[2]storepath.Path]*InputDifference // the first occurrence of each pair
}

// A diffSide loads the derivations of one side.
type diffSide struct {
	loader Loader
	meter  *meter
}

// compare compares the two derivations of a pair. first is false if the pair was compared before or cannot be
// compared. The error is a [*LimitError].
func (c *closureDiffer) compare(ctx context.Context, in *InputDifference) (first bool, err error) {
	if in.A == "" || in.B == "" || in.A == in.B {
		return false, nil
	}
	pair := [2]storepath.Path{in.A, in.B}
	if known, ok := c.known[pair]; ok {
		in.Difference, in.Err = known.Difference, known.Err
		return false, nil
	}
	c.known[pair] = in
	a, err := c.a.load(ctx, in, in.A)
	if a == nil {
		return false, err
	}
	b, err := c.b.load(ctx, in, in.B)
	if b == nil {
		return false, err
	}
	in.Difference = Diff(a, b)
	in.Difference.A, in.Difference.B = in.A, in.B
	return true, nil
}

// load returns a derivation of an input, or nil, after setting the error of the input. The error is a
// [*LimitError].
func (s diffSide) load(ctx context.Context, in *InputDifference, path storepath.Path) (*Derivation, error) {
	if err := s.meter.found(path, path); err != nil {
		return nil, err
	}
	d, length, err := loadOne(ctx, s.loader, path)
	if err != nil {
		in.Err = &LoadError{Path: path, Err: err}
		return nil, nil
	}
	if err := s.meter.loaded(path, path, d, length); err != nil {
		return nil, err
	}
	return d, nil
}
