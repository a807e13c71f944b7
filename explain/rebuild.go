package explain

import (
	"context"
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// A Rebuild says why the outputs of a derivation have other paths than the outputs of an older one.
type Rebuild struct {
	Old, New storepath.Path
	// Same says that the outputs have the same paths, so nothing has to be built again, whatever else differs.
	Same bool
	// Causes are the differences that follow from no other and change the paths of the outputs.
	Causes []RootCause
	// Cascade are the derivations that are built again only because of their inputs, those near the causes last.
	Cascade []storepath.Path
}

// A RootCause is a cause of a rebuild.
type RootCause struct {
	derivation.Cause
	// Chain leads from the new derivation to the one in which the cause is, through inputs.
	Chain []storepath.Path
}

// A Drv is a derivation with its path, and a loader of its inputs.
type Drv struct {
	Path storepath.Path
	*derivation.Derivation
	Inputs derivation.Loader
}

// WhyRebuilt compares two derivations and their closures of inputs, and separates the causes of a rebuild from its cascade. Unlike
// [derivation.DiffClosure], it leaves out differences that do not change the paths of the outputs, such as another URL of a file
// with the same hash.
//
// It returns the errors of [derivation.LoadClosure], [derivation.Derivation.HashModulo] and [derivation.DiffClosure].
func WhyRebuilt(ctx context.Context, old, current Drv) (*Rebuild, error) {
	r := rebuildFinder{sides: [2]Drv{old, current}, result: &Rebuild{Old: old.Path, New: current.Path}}
	var modulo [2]derivation.ModuloHash
	for i, d := range r.sides {
		var err error
		if r.inputs[i], err = loadInputs(ctx, d.Inputs, d.Derivation); err != nil {
			return nil, err
		}
		if modulo[i], err = d.HashModulo(derivation.ForOutputs, r.inputs[i].hashes, nil); err != nil {
			return nil, err
		}
	}
	if modulo[0].Hash == modulo[1].Hash && old.Name == current.Name && old.Dir == current.Dir {
		r.result.Same = true
		return r.result, nil
	}
	d, err := derivation.DiffClosure(ctx, old.Derivation, r.loader(0), current.Derivation, r.loader(1), nil)
	if err != nil {
		return nil, err
	}
	d.A, d.B = old.Path, current.Path
	r.collect(d)
	return r.result, nil
}

// A rebuildFinder finds the causes of a rebuild.
type rebuildFinder struct {
	sides  [2]Drv
	inputs [2]drvInputs
	result *Rebuild
}

// loader returns a loader of one of the closures, which asks the store only for derivations that are not loaded yet. Reading a
// derivation again takes longer than writing its text.
func (r *rebuildFinder) loader(side int) derivation.Loader {
	return loadedFirst{r.sides[side].Inputs, r.inputs[side].closure}
}

// loadedFirst is a loader that has some derivations in memory. It has the limits of the other one.
type loadedFirst struct {
	derivation.Loader
	loaded *derivation.Closure
}

// LoadDerivation implements [derivation.Loader].
func (l loadedFirst) LoadDerivation(ctx context.Context, path storepath.Path) (string, error) {
	if d, ok := l.loaded.Get(path); ok {
		return d.String(), nil
	}
	return l.Loader.LoadDerivation(ctx, path)
}

// ClosureLimits implements [derivation.LimitedLoader].
func (l loadedFirst) ClosureLimits() (derivation.Limits, string) {
	if limited, ok := l.Loader.(derivation.LimitedLoader); ok {
		return limited.ClosureLimits()
	}
	return derivation.ForeignLimits(), "the loader"
}

// collect finds the causes of a difference, and the derivations without a cause of their own.
func (r *rebuildFinder) collect(root *derivation.Difference) {
	from := map[*derivation.Difference]*derivation.Difference{root: nil} // the pair through which each was reached
	for todo := []*derivation.Difference{root}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		own, inputs := r.relevant(d)
		causes := own.Causes()
		for _, c := range causes {
			r.result.Causes = append(r.result.Causes, RootCause{c, chainTo(d, from)})
		}
		if len(causes) == 0 {
			r.result.Cascade = append(r.result.Cascade, d.B)
		}
		for _, next := range inputs {
			if _, seen := from[next]; !seen {
				from[next] = d
				todo = append(todo, next)
			}
		}
	}
}

// relevant returns the part of a difference that changes the hash of the derivation, and the differences of the inputs that do. In
// the part itself these are empty, because collect finds their causes later.
func (r *rebuildFinder) relevant(d *derivation.Difference) (own *derivation.Difference, inputs []*derivation.Difference) {
	own = &derivation.Difference{A: d.A, B: d.B, Changes: d.Changes}
	if r.isFixed(0, d.A) && r.isFixed(1, d.B) { // only its contents and its name count
		own.Changes = nil
		for _, c := range d.Changes {
			if c.Field == derivation.DiffOutput || c.Field == derivation.DiffName || c.Field == derivation.DiffDir {
				own.Changes = append(own.Changes, c)
			}
		}
		return own, nil
	}
	for _, in := range d.Inputs {
		if r.sameHash(&in) && in.OutputsA.Equal(in.OutputsB) {
			continue
		}
		if in.Difference != nil {
			if !r.sameHash(&in) {
				inputs = append(inputs, in.Difference)
			}
			in.Difference = &derivation.Difference{}
		}
		own.Inputs = append(own.Inputs, in)
	}
	return own, inputs
}

// isFixed reports whether the output of a derivation of one of the closures is fixed.
func (r *rebuildFinder) isFixed(side int, path storepath.Path) bool {
	d, ok := r.sides[side].Derivation, true
	if path != r.sides[side].Path {
		d, ok = r.inputs[side].closure.Get(path)
	}
	if !ok {
		return false
	}
	kind, err := d.Kind()
	return err == nil && kind == derivation.Fixed
}

// sameHash reports whether an input of both derivations has the same modulo hash, so that nothing depends on the difference.
func (r *rebuildFinder) sameHash(in *derivation.InputDifference) bool {
	if in.A == "" || in.B == "" {
		return false
	}
	a, okA := r.inputs[0].hashes(in.A)
	b, okB := r.inputs[1].hashes(in.B)
	return okA && okB && a.Hash == b.Hash
}

// chainTo returns the new derivations through which a pair was reached, from the root to the pair.
func chainTo(d *derivation.Difference, from map[*derivation.Difference]*derivation.Difference) (chain []storepath.Path) {
	for ; d != nil; d = from[d] {
		chain = append(chain, d.B)
	}
	slices.Reverse(chain)
	return chain
}
