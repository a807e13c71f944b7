package derivation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sort"
	"sync"

	"pix/nixhash"
	"pix/storepath"
)

// A ModuloHash identifies a derivation by what it does, and not by how its inputs
// came to be: two derivations with the same modulo hash make the same outputs. In
// Nix it is hashDerivationModulo.
type ModuloHash struct {
	// Hash is a SHA-256.
	Hash nixhash.Hash
	// Deferred says that the outputs, or those of an input, are addressed by contents
	// that are not built yet. No path of an input-addressed output can be computed
	// from such a hash; the output is deferred.
	Deferred bool
}

// A HashMode says what a modulo hash is wanted for.
type HashMode uint8

const (
	// ForOutputs blanks the derivation's own output paths, in the outputs and in the
	// environment. From this hash the output paths are computed, so it cannot depend
	// on them.
	ForOutputs HashMode = iota + 1
	// AsInput keeps the output paths. This hash stands for the derivation in the texts
	// of those that depend on it.
	AsInput
)

// InputHashes returns the modulo hash of an input derivation, made with [AsInput],
// and whether it is known.
type InputHashes func(storepath.Path) (ModuloHash, bool)

// ModuloOptions say by which rules a modulo hash is computed. A nil pointer means
// those of Nix 2.34.
type ModuloOptions struct {
	// DynamicDefers makes a derivation deferred that uses outputs of dynamic
	// derivations, or whose own outputs are deferred, as Nix 2.36 does. Nix 2.34 looks
	// only at the hashes of the inputs.
	DynamicDefers bool
}

// HashModulo computes the modulo hash.
//
// It is the SHA-256 of the derivation's text in which each input derivation is
// replaced by its modulo hash. Inputs whose hashes are equal become one, with the
// output names of all; inputs of which no output is used, and what is used of
// dynamic derivations, are left out.
//
// The hash of a fixed output does not look at inputs, nor at the derivation's text:
// it is that of "fixed:out:<method and algorithm>:<hex digest>:<output path>", with
// the path computed from name and hash, whatever the derivation claims it to be.
//
// The error is a [*MissingInputError] for an input without a hash, an
// [*InvalidError] for a derivation that Nix would not build (see
// [Derivation.Kind]), or a [*storepath.Error] for a name that cannot be.
func (d *Derivation) HashModulo(mode HashMode, inputs InputHashes, o *ModuloOptions) (ModuloHash, error) {
	kind, err := d.Kind()
	if err != nil {
		return ModuloHash{}, err
	}
	if kind == Fixed {
		return d.fixedModulo()
	}
	work := hashWorks.Get().(*hashWork)
	defer work.release()
	deferred, err := work.collect(d, inputs)
	if err != nil {
		return ModuloHash{}, err
	}
	if kind == Floating || kind == Impure {
		deferred = true
	}
	if o != nil && o.DynamicDefers && (d.IsDynamic() || kind == Deferred && mode == AsInput) {
		deferred = true
	}
	work.text = d.appendModulo(work.text[:0], mode == ForOutputs, work.merge())
	return ModuloHash{nixhash.SHA256Hash(sha256.Sum256(work.text)), deferred}, nil
}

// fixedModulo returns the modulo hash of a derivation with a fixed output.
func (d *Derivation) fixedModulo() (ModuloHash, error) {
	name, output := d.Outputs.At(0)
	path, err := d.fixedPath(name, output)
	if err != nil {
		return ModuloHash{}, err
	}
	return fixedModuloAt(path, output), nil
}

// fixedModuloAt returns the modulo hash of a derivation with that fixed output, whose
// computed path is known.
func fixedModuloAt(path storepath.Path, output Output) ModuloHash {
	text := "fixed:out:" + output.MethodAlgorithm() + ":" + output.HashField() + ":" + string(path)
	return ModuloHash{Hash: nixhash.Sum(nixhash.SHA256, []byte(text))}
}

// appendModulo appends the text of d with other inputs.
func (d *Derivation) appendModulo(dst []byte, masked bool, inputs []hashedInput) []byte {
	dst = d.appendHeader(dst, masked)
	dst = appendHashedInputs(dst, inputs)
	return d.appendRest(dst, masked)
}

// appendHashedInputs appends the list of input derivations, each in the place of its
// path the hash.
func appendHashedInputs(dst []byte, inputs []hashedInput) []byte {
	for i := range inputs {
		dst = appendComma(dst, i)
		dst = append(dst, `("`...)
		dst = hex.AppendEncode(dst, inputs[i].digest[:])
		dst = append(dst, `",`...)
		dst = appendPlainList(dst, inputs[i].names)
		dst = append(dst, ')')
	}
	return dst
}

// A hashedInput is an input derivation as it stands in the text that is hashed.
type hashedInput struct {
	digest [sha256.Size]byte
	names  []string // the outputs that are used, sorted
}

// byDigest sorts inputs. It does so without slices.SortFunc, which is twenty kilobytes of code for
// a type of this size.
type byDigest []hashedInput

func (s byDigest) Len() int           { return len(s) }
func (s byDigest) Less(i, j int) bool { return bytes.Compare(s[i].digest[:], s[j].digest[:]) < 0 }
func (s byDigest) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// A hashWork is the room that computing a hash needs. It is used again.
type hashWork struct {
	inputs []hashedInput
	text   []byte
}

var hashWorks = sync.Pool{New: func() any { return new(hashWork) }}

func (w *hashWork) release() {
	const most = 4 << 20 // bytes of each that are kept
	if cap(w.text) > most || cap(w.inputs) > most/64 {
		return
	}
	clear(w.inputs)
	hashWorks.Put(w)
}

// collect looks up the hashes of all inputs.
func (w *hashWork) collect(d *Derivation, inputs InputHashes) (deferred bool, err error) {
	w.inputs = w.inputs[:0]
	for input, used := range d.InputDerivations.All() {
		hash, ok := inputs(input)
		if !ok || hash.Hash.Algorithm() != nixhash.SHA256 {
			return false, &MissingInputError{d.Name, input}
		}
		deferred = deferred || hash.Deferred
		if used.Names.Len() > 0 {
			in := hashedInput{names: used.Names.keys}
			hash.Hash.AppendDigest(in.digest[:0])
			w.inputs = append(w.inputs, in)
		}
	}
	return deferred, nil
}

// merge sorts the inputs by their hashes and makes one of those that have the same.
func (w *hashWork) merge() []hashedInput {
	sort.Sort(byDigest(w.inputs))
	merged := w.inputs[:0]
	for _, in := range w.inputs {
		if n := len(merged); n > 0 && merged[n-1].digest == in.digest {
			merged[n-1].names = SetOf(slices.Concat(merged[n-1].names, in.names)...).keys
			continue
		}
		merged = append(merged, in)
	}
	return merged
}
