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

	// LoadedA and LoadedB have derivations that are already in memory, so the loaders need not load
	// them. They may be nil.
	LoadedA, LoadedB *Closure
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
		sides: [2]*diffSide{newDiffSide(loaderA, o.LoadedA, o.Limits), newDiffSide(loaderB, o.LoadedB, o.Limits)},
		known: map[[2]storepath.Path]*InputDifference{},
	}
	root, err := diff(a, b, c.loader(ctx))
	if err != nil {
		return nil, err
	}
	for depth, level := 1, []comparison{{root, a, b}}; len(level) > 0 && (o.Depth == 0 || depth <= o.Depth); depth++ {
		if level, err = c.compareInputs(ctx, level); err != nil {
			return nil, err
		}
	}
	return root, nil
}
