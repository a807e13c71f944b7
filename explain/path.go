package explain

import (
	"fmt"
	"io"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// MaxContents is the size in bytes of the largest archive that [Path] shows.
const MaxContents = 1 << 20

// Path explains the path of a content-addressed object. archive is the archive of the object, and may be nil. If it is larger than
// [MaxContents], Path does not read more of it, and the explanation begins with the hash of the contents.
//
// The error is a [*NoContentAddressError] for an object without content address, whose path follows from its deriver: see
// [Derivation]. It is a [*storepath.Error] for a content address that no path can have, or an error of the archive.
func Path(info *store.PathInfo, archive io.Reader) (*Explanation, error) {
	if info.CA.IsZero() {
		return nil, &NoContentAddressError{info.Path}
	}
	contents, err := readContents(info, archive)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Subject: string(info.Path), Kind: contentKind(info.CA)}
	if contents.problem != "" {
		e.Problems = append(e.Problems, contents.problem)
	}
	content := e.addContent("", info.CA, contents.text, contents.known)
	path, err := e.addContentAddress("", info.Path.Dir(), info.Path.Name(), info.CA, content, referencesOf(info))
	if err != nil {
		return nil, err
	}
	e.check("the path that follows from the content address", path, string(info.Path))
	return e, nil
}

// referencesOf returns the references of an object as its fingerprint has them.
func referencesOf(info *store.PathInfo) (references storepath.References) {
	for _, p := range info.References {
		if p == info.Path {
			references.Self = true
		} else {
			references.Others = append(references.Others, p)
		}
	}
	return references
}

// A NoContentAddressError reports that an object has no content address.
type NoContentAddressError struct{ Path storepath.Path }

func (e *NoContentAddressError) Error() string {
	return fmt.Sprintf("'%s' has no content address, so its path follows from its deriver", e.Path)
}

// check adds a problem unless a computed value is the recorded one. A value that is not known or not recorded is "".
func (e *Explanation) check(what, computed, recorded string) {
	switch {
	case computed == recorded:
	case computed == "":
		e.Problems = append(e.Problems, fmt.Sprintf("%s is not known, but '%s' is recorded", what, recorded))
	case recorded == "":
		e.Problems = append(e.Problems, fmt.Sprintf("%s is '%s', but none is recorded", what, computed))
	default:
		e.Problems = append(e.Problems, fmt.Sprintf("%s is '%s', but '%s' is recorded", what, computed, recorded))
	}
}

// contentKind describes the objects with a content address.
func contentKind(ca storepath.ContentAddress) string {
	switch ca.Method() {
	case storepath.Text:
		return "text"
	case storepath.Flat:
		return "file addressed by the " + ca.Hash().Algorithm().String() + " of its bytes"
	case storepath.Git:
		return "object addressed by its git hash"
	case storepath.NAR:
	}
	if ca.Hash().Algorithm() == nixhash.SHA256 {
		return "source"
	}
	return "object addressed by the " + ca.Hash().Algorithm().String() + " of its archive"
}

// addContentAddress adds the steps from a content address to the store path, which it returns. content is the step of its hash.
func (e *Explanation) addContentAddress(output string, dir storepath.Dir, name string, ca storepath.ContentAddress, content int, references storepath.References) (string, error) {
	fingerprint, err := dir.FixedOutputFingerprint(name, ca, references)
	if err != nil {
		return "", err
	}
	if ca.Method() == storepath.Text || ca.Method() == storepath.NAR && ca.Hash().Algorithm() == nixhash.SHA256 {
		inputs := append([]Input{e.from("hash of the contents", content)}, referenceInputs(references.Others)...)
		if references.Self {
			inputs = append(inputs, Input{Name: "reference", Value: "self", Note: "the object refers to itself"})
		}
		return e.addPath(output, fingerprint, dir, name, inputs...), nil
	}
	inner := e.addInner(output, ca, content)
	return e.addPath(output, fingerprint, dir, name, Input{Name: "type", Value: "output:out"}, e.from("inner digest", inner)), nil
}

// addInner adds the step for the inner text of a content address.
func (e *Explanation) addInner(output string, ca storepath.ContentAddress, content int) int {
	return e.add(Step{
		Name: StepInner, Output: output, Op: HashOp(nixhash.SHA256), Text: storepath.FixedOutputText(ca, ""),
		Inputs: []Input{{Name: "method and algorithm", Value: ca.MethodAlgorithm()}, e.from("hash of the contents", content)},
		Title:  "The inner text",
		Why:    "Contents that are not addressed by the SHA-256 of their archive enter the fingerprint through this text, which ends with a colon.",
	})
}
