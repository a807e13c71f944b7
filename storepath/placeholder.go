package storepath

import (
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
)

// A Placeholder stands for an output path that is not known yet: a slash and 52
// characters of base 32, as in a derivation's environment. The builder (for its
// own outputs) or the resolution of the derivation (for those of its inputs) puts
// the path in its place.
type Placeholder string

// OwnPlaceholder returns what stands for a derivation's own output, as
// builtins.placeholder does.
func OwnPlaceholder(output string) Placeholder {
	return placeholder("nix-output:" + output)
}

// OutputPlaceholder returns what stands for an output, not yet known, of the
// derivation drv. The error is an [*Error] if drv is no derivation.
func OutputPlaceholder(drv Path, output string) (Placeholder, error) {
	name, ok := strings.CutSuffix(drv.Name(), DerivationExt)
	if !ok {
		return "", &Error{string(drv), "it is no derivation"}
	}
	return placeholder("nix-upstream-output:" + drv.HashPart() + ":" + OutputName(name, output)), nil
}

// Output returns what stands for an output of the derivation for which p stands.
// The error is an [*Error] if p is no placeholder.
func (p Placeholder) Output(output string) (Placeholder, error) {
	text, ok := strings.CutPrefix(string(p), "/")
	h, err := nixhash.ParseUnprefixed(text, nixhash.SHA256)
	if !ok || err != nil || h.Nix32() != text {
		return "", &Error{string(p), "it is no placeholder"}
	}
	folded := nixhash.Compress(h.Digest(), HashPartSize)
	return placeholder("nix-computed-output:" + nixbase32.EncodeToString(folded) + ":" + output), nil
}

func placeholder(clearText string) Placeholder {
	return Placeholder("/" + nixhash.Sum(nixhash.SHA256, []byte(clearText)).Nix32())
}
