package explain

import (
	"context"
	"slices"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// A Rebuild explains why the outputs of a derivation have other paths than the outputs of an older one.
type Rebuild struct {
	Old, New storepath.Path
	// Same is true if the outputs have the same paths, so nothing has to be built again. The derivations may still differ.
	Same bool
	// Causes are the differences that follow from no other and change the paths of the outputs.
	Causes []RootCause
	// Cascade are the derivations that are built again only because of their inputs, those near the causes last.
	Cascade []storepath.Path
}

// A RootCause is a cause of a rebuild.
type RootCause struct {
	derivation.Cause
	// Chain leads from the new derivation to the one in which the cause is, through inputs. Of a long chain it has the last 32.
	Chain []storepath.Path
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
		if r.inputs[i], err = loadInputs(ctx, d); err != nil {
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
	loaded := &derivation.DiffOptions{LoadedA: r.inputs[0].closure, LoadedB: r.inputs[1].closure}
	d, err := derivation.DiffClosure(ctx, old.Derivation, old.Inputs, current.Derivation, current.Inputs, loaded)
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
	var entries [2]hashEntries
	for side, path := range []storepath.Path{d.A, d.B} {
		entries[side] = r.entriesOf(side, path)
	}
	for _, in := range d.Inputs {
		if entries[0].hasSame(entries[1], &in) {
			continue
		}
		if in.Difference != nil {
			if !entries[0].hasSameHash(entries[1], &in) {
				inputs = append(inputs, in.Difference)
			}
			in.Difference = &derivation.Difference{}
		}
		own.Inputs = append(own.Inputs, in)
	}
	if len(own.Inputs) == 0 && len(own.Causes()) == 0 {
		own.Changes = independent(own.Changes)
	}
	return own, inputs
}

// independent returns the changes of a derivation that has other outputs, although no input has another hash and no change is a cause
// by itself. The changes mention something of an input that its hash does not cover, such as the path of its .drv file.
func independent(changes []derivation.Change) (causes []derivation.Change) {
	for _, c := range changes {
		if c.Field != derivation.DiffOutput { // they follow from the others
			c.Consequence = false
			causes = append(causes, c)
		}
	}
	return causes
}

// hashEntries are the input derivations in the text that is hashed for a derivation.
type hashEntries struct {
	hashes  derivation.InputHashes
	outputs map[nixhash.Hash]derivation.Set[string] // the used outputs of all inputs with a hash
}

// entriesOf returns the entries of a derivation of one of the closures.
func (r *rebuildFinder) entriesOf(side int, path storepath.Path) hashEntries {
	e := hashEntries{r.inputs[side].hashes, map[nixhash.Hash]derivation.Set[string]{}}
	d := r.derivation(side, path)
	if d == nil {
		return e
	}
	for input, used := range d.InputDerivations.All() {
		if hash, ok := e.hashes(input); ok {
			names := slices.Collect(e.outputs[hash.Hash].All())
			e.outputs[hash.Hash] = derivation.SetOf(append(names, used.Names.Slice()...)...)
		}
	}
	return e
}

// hasSame reports whether the texts of both sides have the same entries for the inputs of a difference, so that no hash depends on it.
// An input that only one side has may be merged with another one.
func (e hashEntries) hasSame(other hashEntries, in *derivation.InputDifference) bool {
	for _, side := range []struct {
		hashes derivation.InputHashes
		path   storepath.Path
	}{{e.hashes, in.A}, {other.hashes, in.B}} {
		if side.path == "" {
			continue
		}
		hash, ok := side.hashes(side.path)
		if !ok || !e.outputs[hash.Hash].Equal(other.outputs[hash.Hash]) {
			return false
		}
	}
	return true
}

// hasSameHash reports whether an input of both sides has the same hash.
func (e hashEntries) hasSameHash(other hashEntries, in *derivation.InputDifference) bool {
	a, okA := e.hashes(in.A)
	b, okB := other.hashes(in.B)
	return okA && okB && a.Hash == b.Hash
}

// derivation returns a derivation of one of the closures, or nil if it was not loaded.
func (r *rebuildFinder) derivation(side int, path storepath.Path) *derivation.Derivation {
	if path == r.sides[side].Path {
		return r.sides[side].Derivation
	}
	d, _ := r.inputs[side].closure.Get(path)
	return d
}

// isFixed reports whether the output of a derivation of one of the closures is fixed.
func (r *rebuildFinder) isFixed(side int, path storepath.Path) bool {
	d := r.derivation(side, path)
	if d == nil {
		return false
	}
	kind, err := d.Kind()
	return err == nil && kind == derivation.Fixed
}

// maxChain is the largest length of a chain. Without a limit, the chains of a deep closure would take memory that grows with the
// square of its depth.
const maxChain = 32

// chainTo returns the new derivations through which a pair was reached, from the root to the pair.
func chainTo(d *derivation.Difference, from map[*derivation.Difference]*derivation.Difference) (chain []storepath.Path) {
	for ; d != nil && len(chain) < maxChain; d = from[d] {
		chain = append(chain, d.B)
	}
	slices.Reverse(chain)
	return chain
}
