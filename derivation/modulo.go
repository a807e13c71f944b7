package derivation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"

	"pix/nixhash"
	"pix/storepath"
)

// A ModuloHash identifies a derivation by what it builds. Two derivations with the same modulo hash
// have the same outputs, even if the derivations of their inputs differ. Nix calls it
// hashDerivationModulo.
type ModuloHash struct {
	// Hash is a SHA-256.
	Hash nixhash.Hash
	// Deferred is true if an output of the derivation or of an input is content-addressed and not
	// built yet. Then no path of an input-addressed output can be computed from the hash, and the
	// output is deferred.
	Deferred bool
}

// A HashMode is the purpose of a modulo hash.
type HashMode uint8

const (
	// ForOutputs is the hash from which the output paths are computed. It cannot depend on them, so
	// they are blank in the outputs and in the environment.
	ForOutputs HashMode = iota + 1
	// AsInput is the hash that replaces the derivation's path in derivations that depend on it. It
	// includes the output paths.
	AsInput
)

// InputHashes returns the modulo hash [AsInput] of an input derivation, and whether it is known. A nil
// function knows none.
type InputHashes func(storepath.Path) (ModuloHash, bool)

// ModuloOptions are the rules for computing a modulo hash. A nil pointer means the rules of Nix 2.34.
type ModuloOptions struct {
	// DynamicDefers makes a derivation deferred if it uses outputs of dynamic derivations or if its
	// own outputs are deferred, as in Nix 2.36. In Nix 2.34 it depends only on the hashes of the
	// inputs.
	DynamicDefers bool
}

// HashModulo computes the modulo hash of d.
//
// It is the SHA-256 of the derivation's text in which the modulo hash of each input derivation
// replaces its path. Inputs with equal hashes are merged into one with all their output names. Inputs
// without used outputs, and the used outputs of dynamic derivations, are left out.
//
// The hash of a derivation with a fixed output does not depend on its inputs or its text. It is the
// hash of "fixed:out:<method and algorithm>:<hex digest>:<output path>", with the path that is
// computed from name and hash, whatever path d has.
//
// The error is a [*MissingInputError] for an input without a hash, an [*InvalidError] for a derivation
// that Nix would not build (see [Derivation.Kind]), or a [*storepath.Error] for an invalid name.
func (d *Derivation) HashModulo(mode HashMode, inputs InputHashes, o *ModuloOptions) (ModuloHash, error) {
	buffers := hashBufferPool.Get().(*hashBuffers)
	defer buffers.release()
	deferred, err := d.moduloText(buffers, mode, inputs, o)
	if err != nil {
		return ModuloHash{}, err
	}
	return ModuloHash{nixhash.SHA256Hash(sha256.Sum256(buffers.text)), deferred}, nil
}

// ModuloText returns the text whose SHA-256 is the modulo hash, for tools that explain a hash. The errors are the
// same as of [Derivation.HashModulo].
func (d *Derivation) ModuloText(mode HashMode, inputs InputHashes, o *ModuloOptions) (string, error) {
	buffers := hashBufferPool.Get().(*hashBuffers)
	defer buffers.release()
	if _, err := d.moduloText(buffers, mode, inputs, o); err != nil {
		return "", err
	}
	return string(buffers.text), nil
}

// moduloText sets b.text to the text that HashModulo hashes, and reports whether the hash is deferred.
func (d *Derivation) moduloText(b *hashBuffers, mode HashMode, inputs InputHashes, o *ModuloOptions) (deferred bool, err error) {
	kind, err := d.Kind()
	if err != nil {
		return false, err
	}
	if kind == Fixed {
		name, output := d.Outputs.At(0)
		path, err := d.fixedPath(name, output)
		b.text = append(b.text[:0], storepath.FixedOutputText(output.ContentAddress(), path)...)
		return false, err
	}
	if deferred, err = b.collect(d, inputs); err != nil {
		return false, err
	}
	if kind == Floating || kind == Impure {
		deferred = true
	}
	if o != nil && o.DynamicDefers && (d.IsDynamic() || kind == Deferred && mode == AsInput) {
		deferred = true
	}
	b.text = d.appendModulo(b.text[:0], mode == ForOutputs, b.merge())
	return deferred, nil
}

// fixedModuloAt returns the modulo hash of a derivation with that fixed output and the computed path.
func fixedModuloAt(path storepath.Path, output Output) ModuloHash {
	return ModuloHash{Hash: nixhash.Sum(nixhash.SHA256, []byte(storepath.FixedOutputText(output.ContentAddress(), path)))}
}

// appendModulo appends the text of d with these inputs instead of its own.
func (d *Derivation) appendModulo(dst []byte, masked bool, inputs []hashedInput) []byte {
	dst = d.appendHeader(dst, masked)
	dst = appendHashedInputs(dst, inputs)
	return d.appendRest(dst, masked)
}

// appendHashedInputs appends the list of input derivations with hashes instead of paths.
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

// A hashedInput is an input derivation in the text that is hashed.
type hashedInput struct {
	digest [sha256.Size]byte
	names  []string // the used outputs, sorted
}

// hashBuffers is the memory for computing a hash. A pool reuses it.
type hashBuffers struct {
	inputs []hashedInput
	text   []byte
}

var hashBufferPool = sync.Pool{New: func() any { return new(hashBuffers) }}

func (b *hashBuffers) release() {
	const most = 4 << 20 // bytes of each buffer that are kept
	if cap(b.text) > most || cap(b.inputs) > most/64 {
		return
	}
	clear(b.inputs)
	hashBufferPool.Put(b)
}

// sum returns the SHA-256 of text, and keeps its memory for later texts.
func (b *hashBuffers) sum(text []byte) nixhash.Hash {
	b.text = text
	return nixhash.SHA256Hash(sha256.Sum256(text))
}

// sumText returns the SHA-256 of text. Converting text to bytes would allocate a copy.
func sumText(text string) nixhash.Hash {
	buffers := hashBufferPool.Get().(*hashBuffers)
	defer buffers.release()
	return buffers.sum(append(buffers.text[:0], text...))
}

// collect looks up the hashes of all inputs.
func (b *hashBuffers) collect(d *Derivation, inputs InputHashes) (deferred bool, err error) {
	b.inputs = b.inputs[:0]
	for input, used := range d.InputDerivations.All() {
		if inputs == nil {
			return false, &MissingInputError{d.Name, input}
		}
		hash, ok := inputs(input)
		if !ok || hash.Hash.Algorithm() != nixhash.SHA256 {
			return false, &MissingInputError{d.Name, input}
		}
		deferred = deferred || hash.Deferred
		if used.Names.Len() > 0 {
			in := hashedInput{names: used.Names.keys}
			hash.Hash.AppendDigest(in.digest[:0])
			b.inputs = append(b.inputs, in)
		}
	}
	return deferred, nil
}

// merge sorts the inputs by hash and merges those with equal hashes.
func (b *hashBuffers) merge() []hashedInput {
	slices.SortFunc(b.inputs, func(x, y hashedInput) int { return bytes.Compare(x.digest[:], y.digest[:]) })
	merged := b.inputs[:0]
	for _, in := range b.inputs {
		if n := len(merged); n > 0 && merged[n-1].digest == in.digest {
			merged[n-1].names = SetOf(slices.Concat(merged[n-1].names, in.names)...).keys
			continue
		}
		merged = append(merged, in)
	}
	return merged
}
