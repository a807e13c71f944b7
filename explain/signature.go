package explain

import (
	"fmt"
	"strconv"

	"pix/signature"
	"pix/store"
)

// Results of the step of a signature. For a signature that is not valid, the note of the input "signature" has the reason.
const (
	ResultValid   = "valid"   // the signature by a trusted key matches the text
	ResultInvalid = "invalid" // there is a trusted key with the name, but it has not signed the text
	ResultUnknown = "unknown" // no trusted key has the name
)

// Signature explains the signatures of a path: the text that is signed, and which of the trusted keys has signed it. A path
// without a valid signature is a problem, unless it is content-addressed. It returns the errors of [store.PathInfo.Fingerprint].
func Signature(info *store.PathInfo, trusted signature.KeySet) (*Explanation, error) {
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return nil, err
	}
	e := &Explanation{Subject: string(info.Path), Kind: "signatures"}
	e.addSigned(info, string(fingerprint))
	valid := 0
	for _, text := range info.Signatures {
		s := verifyStep(text, trusted, fingerprint)
		s.Inputs = append(s.Inputs, e.from("signed text", 1))
		e.Steps = append(e.Steps, s)
		if s.Result == ResultValid {
			valid++
		}
	}
	contentAddressed := info.IsContentAddressed()
	if contentAddressed {
		e.add(Step{
			Name: StepUnsigned, Op: OpShow, Inputs: []Input{{Name: "content address", Value: info.CA.String()}}, Title: "No signature is needed",
			Why: "The path is content-addressed: it follows from the contents, so a store can verify it without a signature.",
		})
	}
	switch {
	case valid > 0, contentAddressed:
	case len(info.Signatures) == 0:
		e.Problems = append(e.Problems, "the path has no signature and is not content-addressed")
	default:
		e.Problems = append(e.Problems, "the path has no valid signature by a trusted key")
	}
	return e, nil
}

// addSigned adds the step with the text that is signed.
func (e *Explanation) addSigned(info *store.PathInfo, fingerprint string) {
	inputs := []Input{
		{Name: "path", Value: string(info.Path)},
		{Name: "NAR hash", Value: info.NARHash.WithNix32(), Note: "the hash of the archive"},
		{Name: "NAR size", Value: strconv.FormatUint(info.NARSize, 10)},
	}
	inputs = append(inputs, referenceInputs(info.References)...)
	e.add(Step{
		Name: StepSigned, Op: OpJoin, Text: fingerprint, Inputs: inputs,
		Title: "The signed text",
		Why:   "A signature covers the path, the hash and the size of its archive, and its references. It covers neither the deriver nor where the archive is.",
	})
}

// verifyStep returns the step that verifies a signature.
func verifyStep(text string, trusted signature.KeySet, message []byte) Step {
	s := Step{
		Name: StepSignature, Op: OpVerify, Text: string(message), Title: "A signature",
		Why: "It must be an ed25519 signature of the text by the trusted key with the same name.",
	}
	given := Input{Name: "signature", Value: text}
	parsed, err := signature.Parse(text)
	if err != nil {
		s.Result, given.Note = ResultInvalid, err.Error()
		s.Inputs = []Input{given}
		return s
	}
	s.Output = parsed.KeyName()
	key, ok := trusted[parsed.KeyName()]
	if !ok {
		s.Result, given.Note = ResultUnknown, fmt.Sprintf("no trusted key has the name %q", parsed.KeyName())
		s.Inputs = []Input{given}
		return s
	}
	s.Result = ResultValid
	if err := key.Verify(message, parsed); err != nil {
		s.Result, given.Note = ResultInvalid, err.Error()
	}
	s.Inputs = []Input{given, {Name: "public key", Value: key.String()}}
	return s
}
