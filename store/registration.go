package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"

	"pix/nixhash"
	"pix/storepath"
)

// A registration is the text form of a path info that 'nix-store --dump-db' prints, and
// 'nix-store --load-db' reads. It has these lines: the path, the hash of its archive in base 16, the
// size of the archive, the deriver or nothing, the number of references, and each reference. It has
// no signatures and no content address.
//
// Source: Store::makeValidityRegistration and decodeValidPathInfo in src/libstore/store-api.cc in Nix.

// AppendRegistration appends the registration of a path to b.
func (info *PathInfo) AppendRegistration(b []byte) []byte {
	b = append(append(b, info.Path...), '\n')
	b = append(append(b, info.NARHash.Base16()...), '\n')
	b = append(strconv.AppendUint(b, info.NARSize, 10), '\n')
	b = append(append(b, info.Deriver...), '\n')
	b = append(strconv.AppendInt(b, int64(len(info.References)), 10), '\n')
	for _, ref := range info.References {
		b = append(append(b, ref...), '\n')
	}
	return b
}

// A RegistrationError reports that a text is not a sequence of registrations.
type RegistrationError struct {
	Line int // counted from 1
	Err  error
}

func (e *RegistrationError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *RegistrationError) Unwrap() error { return e.Err }

// ParseRegistrations returns an iterator over the infos in a text of registrations of a store in dir. It reads the text
// during the loop. An error is the last pair: a [*RegistrationError], a [*LimitError] if it has more than 2^22 paths, 2^26
// references or about 8 GiB, or an error of r.
func ParseRegistrations(r io.Reader, dir storepath.Dir) iter.Seq2[*PathInfo, error] {
	return func(yield func(*PathInfo, error) bool) {
		const maxLine = 64 << 10
		limits := Limits{Paths: 1 << 22, References: 1 << 26, Bytes: 8 << 30} // with one on bytes, equal paths share memory
		p := registrationParser{in: bufio.NewReaderSize(r, maxLine), dir: dir}
		count := NewWalk(dir, "the registrations", limits, 0)
		for {
			info, err := p.next()
			if err == io.EOF {
				return
			}
			if err == nil {
				info, err = count.Take(info.Path, info)
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// A registrationParser parses registrations.
type registrationParser struct {
	in   *bufio.Reader
	dir  storepath.Dir
	line int // the number of the current line
}

// next returns the next info, or io.EOF.
func (p *registrationParser) next() (*PathInfo, error) {
	path, err := p.text()
	if err != nil {
		return nil, err
	}
	info := new(PathInfo)
	if info.Path, err = p.dir.Parse(path); err != nil {
		return nil, p.fail(err)
	}
	err = p.field(func(text string) (err error) {
		info.NARHash, err = nixhash.ParseAny(text, nixhash.SHA256)
		return err
	})
	if err == nil {
		err = p.field(func(text string) (err error) {
			info.NARSize, err = strconv.ParseUint(text, 10, 64)
			return orNotNumber(err, text)
		})
	}
	if err == nil {
		err = p.field(func(text string) (err error) {
			if text != "" {
				info.Deriver, err = p.dir.Parse(text)
			}
			return err
		})
	}
	if err == nil {
		info.References, err = p.references()
	}
	return info, err
}

// maxReferences is the largest number of references of one path. They are in memory before the limits of all paths count.
const maxReferences = 1 << 20

// references parses the number of references, and the references.
func (p *registrationParser) references() (references []storepath.Path, err error) {
	var n uint64
	err = p.field(func(text string) (err error) {
		n, err = strconv.ParseUint(text, 10, 64)
		if err == nil && n > maxReferences {
			return errManyReferences
		}
		return orNotNumber(err, text)
	})
	for ; err == nil && n > 0; n-- { // n does not size an allocation
		err = p.field(func(text string) error {
			ref, err := p.dir.Parse(text)
			references = append(references, ref)
			return err
		})
	}
	slices.Sort(references)
	return slices.Compact(references), err
}

// field parses the next line.
func (p *registrationParser) field(parse func(text string) error) error {
	text, err := p.text()
	if err == io.EOF {
		return p.fail(errMissingInput)
	}
	if err != nil {
		return err
	}
	if err := parse(text); err != nil {
		return p.fail(err)
	}
	return nil
}

var (
	errMissingInput = errors.New("missing input") // the text of Nix
	errLongLine     = errors.New("the line is too long")

	errManyReferences = fmt.Errorf("a path has more than %d references", maxReferences)
)

// text returns the next line, or io.EOF after the last one.
func (p *registrationParser) text() (string, error) {
	line, err := p.in.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return "", err
	}
	p.line++
	switch {
	case err == io.EOF:
		return "", p.fail(errMissingInput)
	case err == bufio.ErrBufferFull:
		return "", p.fail(errLongLine)
	case err != nil:
		return "", err
	}
	return string(line[:len(line)-1]), nil
}

func (p *registrationParser) fail(err error) error { return &RegistrationError{max(p.line, 1), err} }

func orNotNumber(err error, text string) error {
	if err != nil {
		return fmt.Errorf("number expected, got %q", text)
	}
	return nil
}
