package explain

import (
	"strconv"

	"pix/nixhash"
)

// Hash explains a hash in any spelling that [nixhash.Parse] reads, or a digest alone. Of the algorithms with digests of this length
// it takes SHA-256 before BLAKE3. The error is a [*nixhash.SyntaxError].
func Hash(text string) (*Explanation, error) {
	h, err := parseHash(text)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Subject: text, Kind: h.Algorithm().String() + " hash"}
	digest := e.add(Step{
		Name: StepDigest, Op: OpJoin, Text: h.Base16(), Title: "The digest in base 16",
		Why: "The length of the text, and a prefix such as sha256: or sha256-, tell in which base the digest is written and by which algorithm.",
		Inputs: []Input{
			{Name: "algorithm", Value: h.Algorithm().String()}, {Name: "bytes", Value: strconv.Itoa(h.Algorithm().Size())},
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

// parseHash parses a hash, whose algorithm may follow from its length.
func parseHash(text string) (nixhash.Hash, error) {
	h, err := nixhash.Parse(text)
	if err == nil {
		return h, nil
	}
	for _, a := range []nixhash.Algorithm{nixhash.SHA256, nixhash.SHA512, nixhash.SHA1, nixhash.MD5} {
		if h, err := nixhash.ParseUnprefixed(text, a); err == nil {
			return h, nil
		}
	}
	return h, err
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
