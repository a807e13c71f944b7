package derivation

import (
	"context"
	"slices"
	"sort"
	"strings"

	"pix/storepath"
)

// diffInputs returns the input derivations that a and b have not in common.
//
// Which of a's is to be compared with which of b's, nobody says. Taken for each other
// are, as long as there are any: those with the same name of which the same outputs are
// used; those with the same name; those with the same name but for the version.
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
	m.match(func(in inputUse) string { return withoutVersion(nameOf(in.path)) })
	for _, in := range m.a {
		m.pair(in, inputUse{})
	}
	for _, in := range m.b {
		m.pair(inputUse{}, in)
	}
	sort.SliceStable(m.pairs, func(i, j int) bool { return m.pairs[i].Name < m.pairs[j].Name })
	return m.pairs
}

// An inputUse is an input derivation, and which of its outputs are used.
type inputUse struct {
	path storepath.Path
	used InputOutputs
}

// An inputMatcher finds out which inputs are to be compared with each other.
type inputMatcher struct {
	a, b  []inputUse // those that are not paired yet
	pairs []InputDifference
}

func (m *inputMatcher) pair(a, b inputUse) {
	name := nameOf(a.path)
	if a.path == "" {
		name = nameOf(b.path)
	}
	m.pairs = append(m.pairs, InputDifference{Name: name, A: a.path, B: b.path, OutputsA: a.used, OutputsB: b.used})
}

// match pairs those for which key is the same, in their order.
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

// withoutVersion cuts off the version: what follows the first dash after which there is
// no letter, as Nix has it.
func withoutVersion(name string) string {
	for i := 0; i+1 < len(name); i++ {
		if c := name[i+1] | 0x20; name[i] == '-' && (c < 'a' || c > 'z') {
			return name[:i]
		}
	}
	return name
}

// DiffOptions say how [DiffClosure] goes into the inputs. A nil pointer means the
// defaults.
type DiffOptions struct {
	// Depth is how many levels of inputs are looked into; all if it is zero, and none if it
	// is negative.
	Depth int

	// Limits bound the inputs of each of the two derivations. Nil means the limits of its loader, as
	// for [LoadClosure].
	Limits *Limits
}

// DiffClosure compares two derivations, and then those inputs of the two that were
// taken for each other and differ, and so on. Each pair is compared once: where it is
// met again, the same [Difference] is found. The nearest are compared first, so that a
// pair that is met again farther away is never lost to the depth.
//
// The inputs of a are got from one loader and those of b from another, which may be the
// same. One that is missing, or that does not parse, is said in [InputDifference.Err]
// and is no error of the whole. The error is the cause of the context, or a [*LimitError].
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
				goOn, err := c.compare(ctx, &d.Inputs[i])
				if err != nil {
					return nil, err
				}
				if goOn {
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
	known map[[2]storepath.Path]*InputDifference // where a pair was met first
}

// A diffSide loads the derivations of one side.
type diffSide struct {
	loader Loader
	meter  *meter
}

// compare compares the two derivations of an input, and reports whether this is the first time.
// The error is a [*LimitError].
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

// load returns a derivation of an input, or notes in the input why there is none. The error is a
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
