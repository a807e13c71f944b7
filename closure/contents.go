package closure

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"pix/nar"
)

// A ContentChange is a file, directory or symlink in which the contents of two store objects differ.
type ContentChange struct {
	Path     string     // in the object, which begins with a slash; "/" is the object itself
	InA, InB bool       // which of the objects has it
	A, B     nar.Entry  // its kinds, sizes and targets
	Text     [2]*string // the contents in A and B, if both are short texts
}

// The limits of CompareContents.
const (
	maxCompared     = 1 << 18  // files of an object
	maxComparedText = 32 << 10 // bytes of a text that is kept
	maxAllTexts     = 16 << 20 // bytes of the texts of an object
)

// ErrManyFiles is the error of [CompareContents] for an object with more than 2^18 files.
var ErrManyFiles = errors.New("too many files to compare")

// CompareContents reads the archives of two store objects, and returns the differences sorted by path.
func CompareContents(a, b io.Reader) ([]ContentChange, error) {
	filesA, err := readContents(a)
	if err != nil {
		return nil, err
	}
	filesB, err := readContents(b)
	if err != nil {
		return nil, err
	}
	var changes []ContentChange
	for path, x := range filesA {
		y, ok := filesB[path]
		if ok && x.same(y) {
			continue
		}
		c := ContentChange{Path: path, InA: true, InB: ok, A: x.Entry}
		if ok {
			c.B = y.Entry
			if x.text != nil && y.text != nil {
				c.Text = [2]*string{x.text, y.text}
			}
		}
		changes = append(changes, c)
	}
	for path, y := range filesB {
		if _, ok := filesA[path]; !ok {
			changes = append(changes, ContentChange{Path: path, InB: true, B: y.Entry})
		}
	}
	slices.SortFunc(changes, func(x, y ContentChange) int {
		return cmp.Compare(x.Path, y.Path)
	})
	return changes, nil
}

// A content is a file of an archive.
type content struct {
	nar.Entry
	hash [sha256.Size]byte
	text *string // if it is short and UTF-8
}

func (c content) same(other content) bool {
	return c.Kind == other.Kind && c.Executable == other.Executable && c.Target == other.Target && c.hash == other.hash
}

// readContents returns the files of an archive by path.
func readContents(src io.Reader) (map[string]content, error) {
	r := nar.NewReader(src)
	files := make(map[string]content)
	texts := 0
	for e, err := range r.All() {
		if err != nil {
			return nil, err
		}
		if len(files) == maxCompared {
			return nil, ErrManyFiles
		}
		c := content{Entry: e}
		if e.Kind == nar.Regular {
			short := e.Size <= maxComparedText && texts+int(e.Size) <= maxAllTexts
			if err := c.read(r, short); err != nil {
				return nil, err
			}
			if c.text != nil {
				texts += len(*c.text)
			}
		}
		files["/"+r.Path()] = c
	}
	return files, nil
}

// read hashes the contents of a file, and keeps them if they are a short text.
func (c *content) read(r io.Reader, short bool) error {
	hash := sha256.New()
	if !short {
		_, err := io.Copy(hash, r)
		hash.Sum(c.hash[:0])
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.hash = sha256.Sum256(b)
	if text := string(b); utf8.ValidString(text) {
		c.text = &text
	}
	return nil
}
