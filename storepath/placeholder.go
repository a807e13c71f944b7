package storepath

import (
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
)

// A Placeholder stands for an output path that is not known yet, for example in a
// derivation's environment: a slash and 52 characters of base 32. The builder
// replaces the placeholders of the derivation's own outputs. Resolving the
// derivation replaces the placeholders of its inputs' outputs.
type Placeholder string

// OwnPlaceholder returns the placeholder of a derivation's own output, as
// builtins.placeholder does.
func OwnPlaceholder(output string) Placeholder { return placeholder(OwnPlaceholderText(output)) }

// OwnPlaceholderText returns the text "nix-output:<output>", whose SHA-256 is in [OwnPlaceholder].
func OwnPlaceholderText(output string) string { return "nix-output:" + output }

// OutputPlaceholder returns the placeholder of an output of the derivation drv. The
// error is an [*Error] if drv does not end in ".drv".
func OutputPlaceholder(drv Path, output string) (Placeholder, error) {
	name, ok := strings.CutSuffix(drv.Name(), DerivationExt)
	if !ok {
		return "", &Error{string(drv), "it is not a derivation"}
	}
	return placeholder("nix-upstream-output:" + drv.HashPart() + ":" + OutputName(name, output)), nil
}

// Output returns the placeholder of an output of a derivation that is itself an
// output with placeholder p. The error is an [*Error] if p is not a placeholder.
func (p Placeholder) Output(output string) (Placeholder, error) {
	text, ok := strings.CutPrefix(string(p), "/")
	h, err := nixhash.ParseUnprefixed(text, nixhash.SHA256)
	if !ok || err != nil || h.Nix32() != text {
		return "", &Error{string(p), "it is not a placeholder"}
	}
	folded := nixhash.Compress(h.Digest(), HashPartSize)
	return placeholder("nix-computed-output:" + nixbase32.EncodeToString(folded) + ":" + output), nil
}

// placeholder returns the slash and the hash of clearText.
func placeholder(clearText string) Placeholder {
	return Placeholder("/" + nixhash.Sum(nixhash.SHA256, []byte(clearText)).Nix32())
}
