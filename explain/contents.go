package explain

import (
	"bytes"
	"fmt"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// objectContents are the contents of an object, whose hash is in its content address.
type objectContents struct {
	text    string
	known   bool   // text is the text that is hashed; false for a large object and a git tree
	problem string // why no object has this content address, or ""
}

// readContents reads the contents of an object from its archive, which may be nil.
func readContents(info *store.PathInfo, archive io.Reader) (c objectContents, err error) {
	if archive == nil {
		return c, nil
	}
	b, err := io.ReadAll(io.LimitReader(archive, MaxContents+1))
	if err != nil || len(b) > MaxContents {
		return c, err
	}
	if info.CA.Method() == storepath.NAR {
		text, err := archiveText(info, b)
		return objectContents{text: text, known: err == nil}, err
	}
	r := nar.NewReader(bytes.NewReader(b))
	entry, err := r.Next()
	if err != nil {
		return c, err
	}
	isGit := info.CA.Method() == storepath.Git
	if entry.Kind != nar.Regular || entry.Executable && !isGit {
		if !isGit {
			c.problem = "the object is not a plain file, but its content address is the one of a file"
		}
		return c, nil
	}
	file, err := io.ReadAll(r)
	if err != nil {
		return c, err
	}
	if _, err := r.Next(); err != io.EOF { // the end of the only file
		return c, err
	}
	if r.Offset() != int64(len(b)) {
		return c, &nar.Error{Offset: r.Offset(), Reason: "there are bytes after the end of the archive"}
	}
	if isGit {
		return objectContents{text: fmt.Sprintf("blob %d\x00%s", len(file), file), known: true}, nil
	}
	return objectContents{text: string(file), known: true}, nil
}

// archiveText returns the text that is hashed for an archive: the archive itself, or, if the object refers to itself, the one of the two
// forms of [nar.ContentHashes] that has the hash in the content address.
func archiveText(info *store.PathInfo, archive []byte) (string, error) {
	if !referencesOf(info).Self {
		return string(archive), nil
	}
	plain, withOffsets, err := nar.ModuloTexts(archive, info.Path.HashPart())
	if err != nil {
		return "", err
	}
	if h := info.CA.Hash(); withOffsets != nil && nixhash.Sum(h.Algorithm(), withOffsets) == h {
		return string(withOffsets), nil
	}
	return string(plain), nil
}

// whyContent has for each method the reason of the step for the contents.
var whyContent = map[storepath.Method]string{
	storepath.Text: "The hash of a text is the SHA-256 of its bytes.",
	storepath.Flat: "With the method flat, the hash is computed from the bytes of the file.",
	storepath.NAR:  "With the method nar, the hash is computed from the archive of the object. If the object refers to itself, its own hash part is replaced by zeros.",
	storepath.Git:  "With the method git, the hash is the hash of the git blob or tree.",
}

// addContent adds the step for the hash of the contents, and returns its number. Unless the text is known, the step begins with the hash.
func (e *Explanation) addContent(output string, ca storepath.ContentAddress, text string, known bool) int {
	s := Step{
		Name: StepContent, Output: output, Op: OpJoin, Text: ca.Hash().Base16(), Title: "The hash of the contents", Why: whyContent[ca.Method()],
		Inputs: []Input{
			{Name: "content address", Value: ca.String()}, {Name: "method", Value: ca.Method().String()},
			{Name: "algorithm", Value: ca.Hash().Algorithm().String()},
		},
	}
	if known {
		s.Op, s.Text = HashOp(ca.Hash().Algorithm()), text
	}
	n := e.add(s)
	e.check("the hash of the contents", e.Steps[n-1].Result, ca.Hash().Base16())
	return n
}
