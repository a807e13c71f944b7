package derivation

import (
	"fmt"

	"pix/nixhash"
	"pix/storepath"
)

// An OutputKind says how the store path of an output is determined.
type OutputKind uint8

// The kinds of output. The zero value is invalid.
const (
	// InputAddressed is the common kind: the path is computed from the derivation.
	InputAddressed OutputKind = iota + 1
	// Fixed outputs have contents whose hash is known before the build, such as downloads. The
	// path is computed from that hash.
	Fixed
	// Floating outputs are content-addressed. Their hash and path are known only after the build.
	Floating
	// Deferred outputs become input-addressed when the paths of floating or impure inputs are
	// known.
	Deferred
	// Impure outputs are floating outputs that are built again each time.
	Impure
)

var outputKinds = [...]string{
	InputAddressed: "input-addressed", Fixed: "fixed", Floating: "floating", Deferred: "deferred", Impure: "impure",
}

// String returns the name of the kind in lower case, such as "input-addressed".
func (k OutputKind) String() string {
	if k < InputAddressed || k > Impure {
		return fmt.Sprintf("OutputKind(%d)", uint8(k))
	}
	return outputKinds[k]
}

// An Output describes an output of a derivation. It has one of five kinds, each with a constructor.
// Outputs are comparable. The zero value is invalid.
type Output struct {
	kind   OutputKind
	method storepath.Method
	algo   nixhash.Algorithm
	path   storepath.Path
	digest string // in lower-case hex, as in the text
}

// InputAddressedOutput returns an input-addressed output with the given path (see
// [Derivation.OutputPaths]).
func InputAddressedOutput(path storepath.Path) Output {
	return Output{kind: InputAddressed, path: path}
}

// FixedOutput returns an output with known contents. path is the path in the text of the derivation.
// Nix ignores it and computes the path from name and hash (see [Derivation.OutputPaths]). It may be
// "" until [Derivation.FillOutputPaths] sets it.
func FixedOutput(ca storepath.ContentAddress, path storepath.Path) Output {
	return fixedOutput(ca.Method(), ca.Hash(), path)
}

func fixedOutput(m storepath.Method, h nixhash.Hash, path storepath.Path) Output {
	return Output{kind: Fixed, method: m, algo: h.Algorithm(), digest: h.Base16(), path: path}
}

// FloatingOutput returns an output that is addressed by its contents after the build.
func FloatingOutput(m storepath.Method, a nixhash.Algorithm) Output {
	return Output{kind: Floating, method: m, algo: a}
}

// DeferredOutput returns an output whose path is computed from the derivation when the outputs of its
// inputs are known.
func DeferredOutput() Output { return Output{kind: Deferred} }

// ImpureOutput returns an output that is built again each time.
func ImpureOutput(m storepath.Method, a nixhash.Algorithm) Output {
	return Output{kind: Impure, method: m, algo: a}
}

// Kind returns the kind, or zero for the zero value.
func (o Output) Kind() OutputKind { return o.kind }

// Path returns the path in the derivation's text, or "" for floating, deferred and impure outputs.
// The path of a fixed output may be wrong. It may even not be a store path at all, because Nix checks
// only its first character.
func (o Output) Path() storepath.Path { return o.path }

// ContentAddress returns the content address of a fixed output, or the zero value for all others.
func (o Output) ContentAddress() storepath.ContentAddress {
	if o.kind != Fixed {
		return storepath.ContentAddress{}
	}
	hash, err := nixhash.ParseUnprefixed(o.digest, o.algo)
	if err != nil {
		return storepath.ContentAddress{} // FixedOutput was called with a zero content address
	}
	ca, err := storepath.NewContentAddress(o.method, hash)
	if err != nil {
		return storepath.ContentAddress{}
	}
	return ca
}

// Method returns the method of a fixed, floating or impure output, or zero.
func (o Output) Method() storepath.Method { return o.method }

// Algorithm returns the hash algorithm of a fixed, floating or impure output, or zero.
func (o Output) Algorithm() nixhash.Algorithm { return o.algo }

// MethodAlgorithm returns the second field of the output in a derivation's text, such as "r:sha256",
// or "" for input-addressed and deferred outputs.
func (o Output) MethodAlgorithm() string {
	if o.kind != Fixed && o.kind != Floating && o.kind != Impure {
		return ""
	}
	return o.method.Prefix() + o.algo.String()
}

// HashField returns the third field of the output in a derivation's text: the digest of a fixed
// output in lower-case hex, "impure" for an impure output, otherwise "".
func (o Output) HashField() string {
	switch o.kind {
	case Fixed:
		return o.digest
	case Impure:
		return impureField
	case InputAddressed, Floating, Deferred:
	}
	return ""
}

// impureField is the hash field of an impure output.
const impureField = "impure"

// ParseOutput parses the three fields of an output in a derivation's text and in the worker protocol:
// path, method with algorithm, and hash. It accepts what Nix 2.34 accepts: the hash may be in any
// encoding, is ignored without an algorithm, and the path of a fixed output only has to begin with a
// slash. The path of an input-addressed output must lie in dir, or in any store directory if dir is
// "".
func ParseOutput(dir storepath.Dir, path, methodAlgorithm, hash string) (Output, error) {
	p := parser{dir: dir, dirGiven: dir != ""}
	o := p.outputOf(0, path, 0, methodAlgorithm, 0, hash)
	if p.err != nil {
		return Output{}, fmt.Errorf("derivation output: %s", p.err.Reason)
	}
	return o, nil
}

// Kind returns the common kind of the outputs of d. As in Nix, it is an [*InvalidError] if there
// are no outputs, several kinds, several fixed outputs, a fixed output that is not named "out",
// or floating outputs with different hash algorithms.
func (d *Derivation) Kind() (OutputKind, error) {
	if d.Outputs.Len() == 0 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "must have at least one output"}
	}
	_, first := d.Outputs.At(0)
	for i := range d.Outputs.entries {
		if reason := checkSameKind(&first, &d.Outputs.entries[i]); reason != "" {
			return 0, &InvalidError{Name: d.Name, Field: outputField(d.Outputs.entries[i].Key), Reason: reason}
		}
	}
	if first.kind == Fixed && d.Outputs.Len() > 1 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "only one fixed output is allowed for now"}
	}
	return first.kind, nil
}

// checkSameKind returns why e cannot be an output of the same derivation as first, or "" if it
// can. Reasons that Nix has are in Nix's words.
func checkSameKind(first *Output, e *Entry[string, Output]) string {
	o := &e.Value
	switch {
	case o.kind == 0:
		return "the output has no kind"
	case o.kind != first.kind:
		return "can't mix derivation output types"
	case o.kind == Fixed && e.Key != "out":
		return `single fixed output must be named "out"`
	case o.kind == Floating && o.algo != first.algo:
		return "all floating outputs must use the same hash algorithm"
	}
	return ""
}

func outputField(name string) string { return "output \"" + name + "\"" }
