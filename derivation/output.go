package derivation

import (
	"fmt"

	"pix/nixhash"
	"pix/storepath"
)

// An OutputKind says how the store path of an output is found.
type OutputKind uint8

// The kinds of output. The zero value is none of them.
const (
	// InputAddressed is the common kind: the path follows from the derivation.
	InputAddressed OutputKind = iota + 1
	// Fixed outputs have contents whose hash is known before they are built, as
	// downloads have. The path follows from that hash.
	Fixed
	// Floating outputs are content-addressed, and their hash and path are known only
	// after the build.
	Floating
	// Deferred outputs will be input-addressed, once the paths of floating (or
	// impure) inputs are known.
	Deferred
	// Impure outputs are floating ones that are built anew each time.
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

// An Output says where an output of a derivation goes and what is known of its
// contents. It is one of five kinds, each with a constructor. Outputs are
// comparable; the zero value is invalid.
type Output struct {
	kind   OutputKind
	method storepath.Method
	algo   nixhash.Algorithm
	path   storepath.Path
	digest string // in lower-case hex, as it is in the text
}

// InputAddressedOutput returns an output of that path, which follows from the
// derivation (see [Derivation.OutputPaths]).
func InputAddressedOutput(path storepath.Path) Output {
	return Output{kind: InputAddressed, path: path}
}

// FixedOutput returns an output of known contents. The path is what the
// derivation's text has; Nix does not believe it but computes it from the rest (see
// [Derivation.OutputPaths]). It may be "" until [Derivation.FillOutputPaths].
func FixedOutput(ca storepath.ContentAddress, path storepath.Path) Output {
	return fixedOutput(ca.Method(), ca.Hash(), path)
}

func fixedOutput(m storepath.Method, h nixhash.Hash, path storepath.Path) Output {
	return Output{kind: Fixed, method: m, algo: h.Algorithm(), digest: h.Base16(), path: path}
}

// FloatingOutput returns an output that is addressed by its contents, once they are
// built.
func FloatingOutput(m storepath.Method, a nixhash.Algorithm) Output {
	return Output{kind: Floating, method: m, algo: a}
}

// DeferredOutput returns an output whose path follows from the derivation, once the
// outputs of its inputs are known.
func DeferredOutput() Output { return Output{kind: Deferred} }

// ImpureOutput returns an output that is built anew each time.
func ImpureOutput(m storepath.Method, a nixhash.Algorithm) Output {
	return Output{kind: Impure, method: m, algo: a}
}

// Kind returns the kind; zero for the zero value.
func (o Output) Kind() OutputKind { return o.kind }

// Path returns the path that the derivation's text has for the output; "" for
// floating, deferred and impure outputs. That of a fixed output is a claim, and may
// even be no store path at all, for Nix looks only at its first character.
func (o Output) Path() storepath.Path { return o.path }

// ContentAddress returns the content address of a fixed output, and the zero value
// for all others.
func (o Output) ContentAddress() storepath.ContentAddress {
	if o.kind != Fixed {
		return storepath.ContentAddress{}
	}
	hash, err := nixhash.ParseUnprefixed(o.digest, o.algo)
	if err != nil {
		return storepath.ContentAddress{} // made from a zero content address
	}
	ca, err := storepath.NewContentAddress(o.method, hash)
	if err != nil {
		return storepath.ContentAddress{}
	}
	return ca
}

// Method returns the method of a fixed, floating or impure output; else zero.
func (o Output) Method() storepath.Method { return o.method }

// Algorithm returns the hash algorithm of a fixed, floating or impure output; else
// zero.
func (o Output) Algorithm() nixhash.Algorithm { return o.algo }

// MethodAlgorithm returns the second field of an output in a derivation's text, such
// as "r:sha256"; "" for input-addressed and deferred outputs.
func (o Output) MethodAlgorithm() string {
	if o.kind != Fixed && o.kind != Floating && o.kind != Impure {
		return ""
	}
	return o.method.Prefix() + o.algo.String()
}

// HashField returns the third field of an output in a derivation's text: the digest
// of a fixed output in lower-case hex, "impure" for an impure one, else "".
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

// impureField is what stands in the place of an impure output's hash.
const impureField = "impure"

// ParseOutput reads the three fields that say what an output is, as they stand in a
// derivation's text and in the worker protocol: path, method with algorithm, and
// hash. It takes what Nix 2.34 takes: the hash is in any encoding, without an
// algorithm it is not looked at, and the path of a fixed output need only begin with
// a slash. The path of an input-addressed output must lie in dir, or in any store
// directory if dir is "".
func ParseOutput(dir storepath.Dir, path, methodAlgorithm, hash string) (Output, error) {
	p := parser{dir: dir, demanded: dir != ""}
	o := p.outputOf(0, path, 0, methodAlgorithm, 0, hash)
	if p.err != nil {
		return Output{}, fmt.Errorf("derivation output: %s", p.err.Reason)
	}
	return o, nil
}
