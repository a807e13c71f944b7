package explain

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"pix/nixbase32"
	"pix/nixhash"
	"pix/storepath"
)

// An Explanation is a computation in steps.
type Explanation struct {
	Subject string // the path or text that is explained
	Kind    string // what the subject is, such as "fixed derivation"
	Steps   []Step

	// Problems are differences between the subject and the computed values. There are none if the subject is correct.
	Problems []string
}

// A Step is one step of a computation.
type Step struct {
	Name   StepName
	Output string // the output of a derivation, or the key of a signature, that the step is about; else ""
	Title  string
	Why    string // the reason for the step, in a sentence

	Inputs []Input // the values that the text contains
	Op     Op
	Text   string // the exact bytes to which Op is applied
	Result string // of Op for Text; a digest is in lower-case hex
}

// A StepName identifies a step. The steps of two explanations with the same name and output correspond to each other.
type StepName string

// The names of steps. More may follow.
const (
	StepFields      StepName = "fields"      // the fields of a derivation
	StepText        StepName = "text"        // the text of a .drv file
	StepContent     StepName = "content"     // the content address of an object
	StepInner       StepName = "inner"       // the text "fixed:out:…:" of a content address
	StepModulo      StepName = "modulo"      // the text whose SHA-256 is the modulo hash
	StepResolved    StepName = "resolved"    // the text of a resolved derivation with blank outputs
	StepPlaceholder StepName = "placeholder" // the text whose SHA-256 is in a placeholder

	StepPlaceholderBase32 StepName = "placeholder-base32" // the digest of a placeholder in base 32
	StepPlaceholderPath   StepName = "placeholder-path"   // the placeholder

	StepFingerprint StepName = "fingerprint" // the fingerprint of a store path
	StepFold        StepName = "fold"        // the 20 bytes of the hash part
	StepBase32      StepName = "base32"      // the hash part
	StepPath        StepName = "path"        // the store path

	StepDigest   StepName = "digest"    // a hash in base 16
	StepBase64   StepName = "base64"    // a hash in base 64
	StepHashPart StepName = "hash-part" // a folded hash in base 32

	StepSigned    StepName = "signed"    // the text that signatures of a path sign
	StepSignature StepName = "signature" // a signature; the step's Output is the name of the key
	StepUnsigned  StepName = "unsigned"  // why no signature is needed

	StepFiles   StepName = "files"   // the files in an archive
	StepArchive StepName = "archive" // the bytes of an archive
)

// An Input is a value that the text of a step contains.
type Input struct {
	Name   string
	Value  string
	From   int    // the number of the step whose result is the value, counted from 1; 0 for a given value
	Reason string // for an input derivation, one of [ReasonHashed] and others; else ""
	Note   string // more about the value, or ""

	contents [2]int64 // the offsets at which the contents of a file in an archive begin and end
}

// An Op says how the result of a step follows from its text.
type Op string

// The operations, besides the names of hash algorithms (see [HashOp]).
const (
	OpShow  Op = "show"  // there is no result
	OpJoin  Op = "join"  // the result is the text
	OpFold  Op = "fold"  // the text is a digest in hex, and its bytes are folded to 20 by XOR
	OpNix32 Op = "nix32" // the text is a digest in hex, and is written in Nix's base 32

	OpBase64 Op = "base64" // the text is a digest in hex, and is written in base 64
	OpVerify Op = "verify" // the text is verified with a signature and a key; the result is one of [ResultValid] and others
)

// HashOp returns the operation whose result is the hash of the text.
func HashOp(a nixhash.Algorithm) Op { return Op(a.String()) }

// apply returns the result for a text.
func (o Op) apply(text string) string {
	switch o {
	case OpShow:
		return ""
	case OpJoin:
		return text
	case OpFold:
		return hex.EncodeToString(nixhash.Compress(digestOf(text), storepath.HashPartSize))
	case OpBase64:
		return base64.StdEncoding.EncodeToString(digestOf(text))
	case OpNix32:
		return nixbase32.EncodeToString(digestOf(text))
	}
	a, err := nixhash.ParseAlgorithm(string(o))
	if err != nil {
		panic(fmt.Sprintf("explain: unknown operation %q", string(o)))
	}
	return nixhash.Sum(a, []byte(text)).Base16()
}

// digestOf returns the bytes of a digest that an earlier step has written in hex.
func digestOf(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic("explain: the digest of a step is not hex: " + err.Error())
	}
	return b
}

// add computes the result of a step, appends it, and returns its number.
func (e *Explanation) add(s Step) int {
	s.Result = s.Op.apply(s.Text)
	e.Steps = append(e.Steps, s)
	return len(e.Steps)
}

// input returns the value of an input, or "" if there is none with the name.
func (s *Step) input(name string) string {
	for i := range s.Inputs {
		if s.Inputs[i].Name == name {
			return s.Inputs[i].Value
		}
	}
	return ""
}

// referenceInputs returns references as inputs.
func referenceInputs(references []storepath.Path) []Input {
	inputs := make([]Input, len(references))
	for i, p := range references {
		inputs[i] = Input{Name: "reference", Value: string(p)}
	}
	return inputs
}

// from returns the result of a step as an input of another one.
func (e *Explanation) from(name string, step int) Input {
	return Input{Name: name, Value: e.Steps[step-1].Result, From: step}
}

// addPath adds the steps from a fingerprint to the store path, which it returns. The inputs are the values in the fingerprint,
// without the store directory and the name.
func (e *Explanation) addPath(output, fingerprint string, dir storepath.Dir, name string, inputs ...Input) string {
	inputs = append(inputs, Input{Name: "store directory", Value: string(dir)}, Input{Name: "name", Value: name})
	digest := e.add(Step{
		Name: StepFingerprint, Output: output, Op: HashOp(nixhash.SHA256), Text: fingerprint, Inputs: inputs,
		Title: "The fingerprint",
		Why:   "The fingerprint says where the object comes from. Its SHA-256 becomes the hash part of the path.",
	})
	folded := e.add(Step{
		Name: StepFold, Output: output, Op: OpFold, Text: e.Steps[digest-1].Result, Inputs: []Input{e.from("SHA-256", digest)},
		Title: "Folded to 20 bytes",
		Why:   "Bytes 20 to 31 are XORed onto bytes 0 to 11, so that the path is shorter.",
	})
	part := e.add(Step{
		Name: StepBase32, Output: output, Op: OpNix32, Text: e.Steps[folded-1].Result, Inputs: []Input{e.from("folded", folded)},
		Title: "In base 32",
		Why:   "Nix's base 32 writes the 20 bytes as one little-endian number, with the most significant digit first.",
	})
	path := e.add(Step{
		Name: StepPath, Output: output, Op: OpJoin, Text: string(dir) + "/" + e.Steps[part-1].Result + "-" + name,
		Inputs: []Input{{Name: "store directory", Value: string(dir)}, e.from("hash part", part), {Name: "name", Value: name}},
		Title:  "The store path",
		Why:    "A store path is the store directory, a slash, the hash part, a dash and the name.",
	})
	return e.Steps[path-1].Result
}
