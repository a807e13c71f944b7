package narinfo

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// An InvalidError reports why a narinfo cannot be printed.
type InvalidError struct {
	Path storepath.Path
	Key  string // key of the invalid line
	Err  error
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("narinfo of '%s', key %q: %v", e.Path, e.Key, e.Err)
}

// Unwrap returns e.Err.
func (e *InvalidError) Unwrap() error { return e.Err }

// MarshalText returns the file; see [NarInfo.AppendText].
func (n *NarInfo) MarshalText() ([]byte, error) { return n.AppendText(nil) }

// AppendText appends the file to dst as Nix 2.34 prints it, followed by the lines of [NarInfo.Unknown].
// References and signatures are sorted and printed without duplicates. An unknown FileHash is left out,
// and FileSize if both are unknown; Nix 2.34 crashes in this case, and later versions print the same as
// AppendText.
//
// It returns an [*InvalidError] if [Parse] would reject the text or return other values, and for hashes
// other than SHA-256. In this case it returns dst unchanged.
func (n *NarInfo) AppendText(dst []byte) ([]byte, error) {
	p := printer{n: n, dir: n.Path.Dir(), b: dst}
	p.line("StorePath", string(n.Path), p.checkPath(n.Path))
	p.line("URL", n.URL, checkWord(n.URL))
	p.line("Compression", n.Compression, checkWord(n.Compression))
	if !n.FileHash.IsZero() {
		p.line("FileHash", n.FileHash.WithNix32(), checkHash(n.FileHash))
	}
	if !n.FileHash.IsZero() || n.FileSize != 0 {
		p.size("FileSize", n.FileSize, nil)
	}
	p.line("NarHash", n.NARHash.WithNix32(), checkHash(n.NARHash))
	p.size("NarSize", n.NARSize, p.checkNARSize())
	p.references()
	if n.Deriver != "" {
		p.line("Deriver", n.Deriver.Base(), p.checkPath(n.Deriver))
	}
	p.signatures()
	if !n.CA.IsZero() {
		p.line("CA", n.CA.String(), nil)
	}
	for _, f := range n.Unknown {
		p.line(f.Key, f.Value, checkUnknown(f))
	}
	if p.err != nil {
		return dst, p.err
	}
	return p.b, nil
}

// A printer appends lines. It keeps the first error.
type printer struct {
	n   *NarInfo
	dir storepath.Dir
	b   []byte
	err error
}

func (p *printer) fail(key string, err error) {
	if p.err == nil && err != nil {
		p.err = &InvalidError{p.n.Path, key, err}
	}
}

func (p *printer) line(key, value string, err error) {
	p.fail(key, err)
	p.b = append(p.b, key...)
	p.b = append(p.b, ": "...)
	p.b = append(p.b, value...)
	p.b = append(p.b, '\n')
}

func (p *printer) size(key string, n uint64, err error) {
	p.fail(key, err)
	p.b = append(p.b, key...)
	p.b = append(p.b, ": "...)
	p.b = strconv.AppendUint(p.b, n, 10)
	p.b = append(p.b, '\n')
}

func (p *printer) references() {
	const key = "References"
	references := p.n.References
	if !slices.IsSorted(references) {
		references = slices.Sorted(slices.Values(references))
	}
	p.b = append(p.b, key+":"...)
	for i, r := range references {
		if i > 0 && r == references[i-1] {
			continue
		}
		p.fail(key, p.checkPath(r))
		p.b = append(p.b, ' ')
		p.b = append(p.b, r.Base()...)
	}
	if len(references) == 0 {
		p.b = append(p.b, ' ')
	}
	p.b = append(p.b, '\n')
}

func (p *printer) signatures() {
	const key = "Sig"
	signatures, err := signature.ParseAll(p.n.Signatures)
	p.fail(key, err)
	for _, s := range signatures {
		p.line(key, s.String(), checkOneLine(s.KeyName()))
	}
}

func (p *printer) checkPath(path storepath.Path) error {
	_, err := p.dir.Parse(string(path))
	return err
}

func (p *printer) checkNARSize() error {
	if p.n.NARSize == 0 {
		return errors.New("it is unknown")
	}
	return nil
}

func checkHash(h nixhash.Hash) error {
	if h.Algorithm() != nixhash.SHA256 {
		return fmt.Errorf("%q is not a SHA-256", h)
	}
	return nil
}

func checkOneLine(s string) error {
	if strings.Contains(s, "\n") {
		return fmt.Errorf("%q contains a line feed", s)
	}
	return nil
}

func checkWord(s string) error {
	if s == "" {
		return errors.New("it is missing")
	}
	return checkOneLine(s)
}

func checkUnknown(f Field) error {
	if isKnown(f.Key) || strings.Contains(f.Key, ":") {
		return errors.New("an unknown key must not be a known key or contain a colon")
	}
	return checkOneLine(f.Key + f.Value)
}
