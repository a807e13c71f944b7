package explain

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// The reasons for the hash that replaces the path of an input derivation. They are the values of [Input.Reason].
const (
	ReasonHashed   = "hashed"   // it is the hash of the input's own text, with its inputs replaced
	ReasonFixed    = "fixed"    // it depends only on the contents of the input's output
	ReasonMerged   = "merged"   // an earlier input has the same hash, so both have one entry
	ReasonDeferred = "deferred" // the input is not resolved yet, so neither is the derivation
	ReasonUnused   = "unused"   // no output of the input is used, so the text has no entry for it
)

// A drvInputs is the closure of the inputs of a derivation, with their hashes.
type drvInputs struct {
	closure *derivation.Closure
	hashes  derivation.InputHashes
}

// loadInputs loads the derivations on which the modulo hash of d depends.
func loadInputs(ctx context.Context, d Drv) (in drvInputs, err error) {
	var roots []storepath.Path
	if kind, err := d.Kind(); err != nil || kind != derivation.Fixed {
		for path := range d.InputDerivations.Keys() {
			roots = append(roots, path)
		}
	}
	if in.closure, err = derivation.LoadClosure(ctx, d.Inputs, roots, &derivation.ClosureOptions{ForHashes: true}); err != nil {
		return in, err
	}
	in.hashes, err = in.closure.InputHashes(ctx)
	return in, err
}

// whyModulo says what the modulo hash of a kind of derivation is for.
var whyModulo = map[derivation.OutputKind]string{
	derivation.InputAddressed: "The paths of the outputs follow from this hash. So they are blank in the text, and the path of each input derivation is replaced by the hash of what it builds.",
	derivation.Deferred:       "The paths of the outputs follow from this hash, but not before the outputs of all inputs are known.",
	derivation.Floating:       "The hash identifies the build, but no path follows from it. The path of each input derivation is replaced by the hash of what it builds.",
	derivation.Impure:         "The hash identifies the build, but no path follows from it, because the outputs are built again each time.",
}

// addModulo adds the step for the modulo hash, and returns the hash and the number of the step.
func (e *Explanation) addModulo(d *derivation.Derivation, kind derivation.OutputKind, in drvInputs) (derivation.ModuloHash, int, error) {
	hash, err := d.HashModulo(derivation.ForOutputs, in.hashes, nil)
	if err != nil {
		return hash, 0, err
	}
	text, err := d.ModuloText(derivation.ForOutputs, in.hashes, nil)
	if err != nil {
		return hash, 0, err
	}
	inputs, err := in.replacements(d)
	if err != nil {
		return hash, 0, err
	}
	step := e.add(Step{
		Name: StepModulo, Op: HashOp(nixhash.SHA256), Text: text, Inputs: inputs,
		Title: "The modulo hash", Why: whyModulo[kind],
	})
	return hash, step, nil
}

// replacements returns the hashes that replace the paths of the input derivations, with their reasons.
func (in drvInputs) replacements(d *derivation.Derivation) (all []Input, err error) {
	first := map[nixhash.Hash]storepath.Path{} // the first input with each hash
	for path, used := range d.InputDerivations.All() {
		hash, ok := in.hashes(path)
		if !ok {
			return nil, &derivation.MissingInputError{Name: d.Name, Input: path}
		}
		i := Input{Name: string(path), Value: hash.Hash.Base16(), Reason: ReasonHashed}
		other, seen := first[hash.Hash]
		switch {
		case used.Names.Len() == 0:
			i.Reason, i.Note = ReasonUnused, "no output is used, so the text has no entry for it"
		case seen:
			i.Reason, i.Note = ReasonMerged, fmt.Sprintf("it has the same hash as %s, so both have one entry", other)
		default:
			first[hash.Hash] = path
			i.Reason, i.Note = in.reason(path, hash)
		}
		all = append(all, i)
	}
	return all, nil
}

// reason returns the reason for the hash of an input, and a note for people.
func (in drvInputs) reason(path storepath.Path, hash derivation.ModuloHash) (reason, note string) {
	d, ok := in.closure.Get(path)
	if !ok {
		return ReasonHashed, ""
	}
	if kind, err := d.Kind(); err == nil && kind == derivation.Fixed {
		text, err := d.ModuloText(derivation.AsInput, nil, nil)
		if err == nil {
			return ReasonFixed, "the SHA-256 of " + text
		}
	}
	if hash.Deferred {
		return ReasonDeferred, "its outputs are unknown until it is built, and so are the paths of everything that depends on it"
	}
	return ReasonHashed, ""
}
