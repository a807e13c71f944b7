package derivation

import (
	"context"
	"strings"

	"pix/storepath"
)

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
// Several inputs with one name are paired by the variables that mention them, then by their contents. Inputs for which
// neither tells them apart are not paired.
//
// It loads the inputs of a with loaderA and the inputs of b with loaderB, which may be the same. If an input
// is missing or cannot be parsed, [InputDifference.Err] has the error. DiffClosure itself returns only the
// cause of the cancellation of ctx or a [*LimitError].
func DiffClosure(ctx context.Context, a *Derivation, loaderA Loader, b *Derivation, loaderB Loader, o *DiffOptions) (*Difference, error) {
	if o == nil {
		o = &DiffOptions{}
	}
	c := &closureDiffer{
		a: newDiffSide(loaderA, o.Limits), b: newDiffSide(loaderB, o.Limits),
		known: map[[2]storepath.Path]*InputDifference{},
	}
	root, err := diff(a, b, c.loader(ctx))
	if err != nil {
		return nil, err
	}
	for depth, level := 1, []comparison{{root, a, b}}; len(level) > 0 && (o.Depth == 0 || depth <= o.Depth); depth++ {
		var next []comparison
		for _, d := range level {
			for i := range d.Inputs {
				if err := ctx.Err(); err != nil {
					return nil, context.Cause(ctx)
				}
				first, err := c.compare(ctx, &d.Inputs[i])
				if err != nil {
					return nil, err
				}
				if first != nil {
					next = append(next, *first)
				}
			}
			d.explain(d.a, d.b, func(side int, path storepath.Path) []Entry[string, string] { return c.sides()[side].outputs[path] })
		}
		level = next
	}
	return root, nil
}

// A comparison is a difference with its two derivations.
type comparison struct {
	*Difference
	a, b *Derivation
}

// A closureDiffer is one run of [DiffClosure].
type closureDiffer struct {
	a, b  diffSide
	known map[[2]storepath.Path]*InputDifference // the first occurrence of each pair
}

// A diffSide loads the derivations of one side.
type diffSide struct {
	loader  Loader
	meter   *meter
	outputs map[storepath.Path][]Entry[string, string] // of each compared derivation, the texts that stand for its outputs
}

func newDiffSide(l Loader, limits *Limits) diffSide {
	return diffSide{l, newMeter(l, limits), map[storepath.Path][]Entry[string, string]{}}
}

func (c *closureDiffer) sides() [2]diffSide { return [2]diffSide{c.a, c.b} }

// loader returns a loader for pairing inputs.
func (c *closureDiffer) loader(ctx context.Context) inputLoader {
	return func(side int, path storepath.Path) (*Derivation, error) {
		return c.sides()[side].load(ctx, new(InputDifference), path)
	}
}

// compare compares the two derivations of a pair. The comparison is nil if the pair was compared before or cannot be
// compared. The error is a [*LimitError].
func (c *closureDiffer) compare(ctx context.Context, in *InputDifference) (*comparison, error) {
	if in.A == "" || in.B == "" || in.A == in.B {
		return nil, nil
	}
	pair := [2]storepath.Path{in.A, in.B}
	if known, ok := c.known[pair]; ok {
		in.Difference, in.Err = known.Difference, known.Err
		return nil, nil
	}
	c.known[pair] = in
	a, err := c.a.load(ctx, in, in.A)
	if a == nil {
		return nil, err
	}
	b, err := c.b.load(ctx, in, in.B)
	if b == nil {
		return nil, err
	}
	c.a.keepOutputs(in.A, a)
	c.b.keepOutputs(in.B, b)
	if in.Difference, err = diff(a, b, c.loader(ctx)); err != nil {
		return nil, err
	}
	in.Difference.A, in.Difference.B = in.A, in.B
	return &comparison{in.Difference, a, b}, nil
}

// keepOutputs keeps the texts that stand for the outputs of a derivation.
func (s diffSide) keepOutputs(path storepath.Path, d *Derivation) {
	texts := make([]Entry[string, string], 0, d.Outputs.Len())
	for name, o := range d.Outputs.All() {
		text := string(o.path)
		if text == "" {
			placeholder, _ := storepath.OutputPlaceholder(path, name) // only a path that is no derivation has none
			text = string(placeholder)
		}
		// A copy, because the text of the whole derivation would stay in memory.
		texts = append(texts, Entry[string, string]{strings.Clone(name), strings.Clone(text)})
	}
	s.outputs[path] = texts
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
