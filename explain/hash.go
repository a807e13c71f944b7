package explain

import (
	"strconv"

	"pix/nixhash"
)

// Hash explains a hash in any spelling that [nixhash.Parse] reads, or a digest alone. A digest alone may belong to several algorithms:
// it is read as SHA-256 before BLAKE3, and 32 digits in base 16 as MD5 before SHA-1 in base 32. The explanation names the other
// reading. The error is a [*nixhash.SyntaxError].
func Hash(text string) (*Explanation, error) {
	h, other, err := parseHash(text)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Subject: text, Kind: h.Algorithm().String() + " hash"}
	digest := e.add(Step{
		Name: StepDigest, Op: OpJoin, Text: h.Base16(), Title: "The digest in base 16",
		Why: "The length of the text, and a prefix such as sha256: or sha256-, tell in which base the digest is written and by which algorithm.",
		Inputs: []Input{
			{Name: "algorithm", Value: h.Algorithm().String(), Note: other}, {Name: "bytes", Value: strconv.Itoa(h.Algorithm().Size())},
			{Name: "spelling", Value: spelling(text, h)},
		},
	})
	e.add(Step{
		Name: StepBase32, Op: OpNix32, Text: h.Base16(), Inputs: []Input{e.from("digest", digest)}, Title: "In base 32",
		Why: "Nix's base 32 writes the bytes as one little-endian number, with the most significant digit first.",
	})
	e.add(Step{
		Name: StepBase64, Op: OpBase64, Text: h.Base16(), Inputs: []Input{e.from("digest", digest)}, Title: "In base 64",
		Why: "After the name of the algorithm and a dash, this is the form of Subresource Integrity, which Nix prints: " + h.SRI() + ".",
	})
	if h.Algorithm() == nixhash.SHA256 {
		folded := e.add(Step{
			Name: StepFold, Op: OpFold, Text: h.Base16(), Inputs: []Input{e.from("digest", digest)}, Title: "Folded to 20 bytes",
			Why: "If this is the SHA-256 of a fingerprint, these bytes are the hash part of the store path.",
		})
		e.add(Step{
			Name: StepHashPart, Op: OpNix32, Text: e.Steps[folded-1].Result, Inputs: []Input{e.from("folded", folded)}, Title: "The hash part",
			Why: "The folded bytes in base 32. A hash of contents is not the SHA-256 of a fingerprint, so it is not folded itself.",
		})
	}
	return e, nil
}

// parseHash parses a hash, whose algorithm may follow from its length. other says which other algorithm the text fits, if any.
func parseHash(text string) (h nixhash.Hash, other string, err error) {
	if h, err = nixhash.Parse(text); err == nil {
		return h, "", nil
	}
	var found []nixhash.Hash
	for _, a := range []nixhash.Algorithm{nixhash.SHA256, nixhash.SHA512, nixhash.MD5, nixhash.SHA1, nixhash.BLAKE3} {
		if h, err := nixhash.ParseUnprefixed(text, a); err == nil {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return h, "", err
	case 1:
		return found[0], "", nil
	}
	return found[0], "it could also be a " + found[1].Algorithm().String() + " digest", nil
}

// spelling describes how a text spells a hash.
func spelling(text string, h nixhash.Hash) string {
	for _, s := range []struct{ name, text string }{
		{"base 16", h.Base16()}, {"base 32", h.Nix32()}, {"base 64", h.Base64()},
		{"base 16 with the algorithm", h.WithBase16()}, {"base 32 with the algorithm", h.WithNix32()}, {"base 64 with the algorithm", h.WithBase64()},
		{"Subresource Integrity (base 64)", h.SRI()},
	} {
		if s.text == text {
			return s.name
		}
	}
	return "another one that is accepted"
}
