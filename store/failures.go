package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// maxFailuresInRow is the number of consecutive failures after which the rest is not tried. If
// the source or the destination is unavailable, every object fails, and each may take as long
// as all retries of a download.
const maxFailuresInRow = 16

// An ObjectError is the reason why one of many objects was not added.
type ObjectError struct {
	Path storepath.Path
	Err  error
}

func (e *ObjectError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ObjectError) Unwrap() error { return e.Err }

// An AddError reports the objects that a [MultipleAdder] could not add.
type AddError struct {
	Failed []*ObjectError // in the order of failing
	Err    error          // why the rest was not tried; nil if all others were added
}

func (e *AddError) Error() string {
	return describeFailures(e.Failed, e.Err, func(f *ObjectError) string { return f.Error() })
}

// Unwrap returns all failures, and Err.
func (e *AddError) Unwrap() []error { return failuresAndErr(e.Failed, e.Err) }

func failuresAndErr(failed []*ObjectError, err error) []error {
	errs := make([]error, 0, len(failed)+1)
	for _, f := range failed {
		errs = append(errs, f)
	}
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

// namedFailures is the number of failures that a message describes.
const namedFailures = 3

// ErrTooManyFailures is the Err of an [AddError] or a [CopyError] if many objects in a row have failed, each
// for a reason of its own, and so the rest was not tried.
var ErrTooManyFailures = fmt.Errorf("the rest was not tried after %d failures in a row", maxFailuresInRow)

// describeFailures describes failures and, if it is not nil, the error that ended everything.
// It only counts the objects that refer to failed ones.
func describeFailures(failed []*ObjectError, err error, describe func(*ObjectError) string) string {
	var parts []string
	own, dependent := 0, 0
	for _, f := range failed {
		if _, ok := errors.AsType[*MissingReferenceError](f.Err); ok && own > 0 {
			dependent++
			continue
		}
		if own++; own <= namedFailures {
			parts = append(parts, describe(f))
		}
	}
	if own > namedFailures {
		parts = append(parts, fmt.Sprintf("%d more failed", own-namedFailures))
	}
	switch {
	case dependent == 1:
		parts = append(parts, "1 path that refers to these was not added")
	case dependent > 1:
		parts = append(parts, fmt.Sprintf("%d paths that refer to these were not added", dependent))
	}
	if err != nil {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, "; ")
}

// Failures collects the objects that a [MultipleAdder] cannot add, while it adds the others.
// The zero value has none. Its methods may be called by any number of goroutines at the same
// time.
type Failures struct {
	mu     sync.Mutex
	failed []*ObjectError
	paths  map[storepath.Path]bool
	row    int // number of failures since an object was added
}

// Fail records why an object cannot be added. It returns an error after so many consecutive
// failures that the caller should not try the rest.
func (f *Failures) Fail(path storepath.Path, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paths == nil {
		f.paths = make(map[storepath.Path]bool)
	}
	f.paths[path] = true
	f.failed = append(f.failed, &ObjectError{path, err})
	if _, dependent := errors.AsType[*MissingReferenceError](err); dependent {
		return nil
	}
	if f.row++; f.row >= maxFailuresInRow {
		return ErrTooManyFailures
	}
	return nil
}

// Succeed records that an object was added, or is ready to be added.
func (f *Failures) Succeed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.row = 0
}

// CheckReferences returns a [*MissingReferenceError] if an object refers to a failed one.
func (f *Failures) CheckReferences(info *PathInfo) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.paths) == 0 {
		return nil
	}
	for _, ref := range info.References {
		if ref != info.Path && f.paths[ref] {
			return &MissingReferenceError{Path: info.Path, Reference: ref}
		}
	}
	return nil
}

// Err returns the error of the call: an [*AddError] if objects have failed, otherwise err. err
// is the reason why the rest was not tried, or nil.
func (f *Failures) Err(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) == 0 {
		return err
	}
	return &AddError{slices.Clone(f.failed), err}
}

// An ObjectReader reads the archive of one of many objects, so that a [MultipleAdder] can
// decide whether an error concerns only this object.
type ObjectReader struct {
	Archive io.Reader
	err     error
}

// Read implements io.Reader.
func (r *ObjectReader) Read(p []byte) (int, error) {
	n, err := r.Archive.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// IsFault reports whether err, the result of adding the object, concerns only this object: its
// archive could not be read, is malformed, or does not match the info; it lacks a signature or
// a reference; or the store refuses its info. Other errors, such as a full disk, would affect
// the next object, too.
func (r *ObjectReader) IsFault(err error) bool {
	if err == nil {
		return false
	}
	_, mismatch := errors.AsType[*MismatchError](err)
	_, malformed := errors.AsType[*nar.Error](err)
	_, untrusted := errors.AsType[*UntrustedError](err)
	_, reference := errors.AsType[*MissingReferenceError](err)
	_, info := errors.AsType[*InfoError](err)
	return r.err != nil || mismatch || malformed || untrusted || reference || info
}

// AddOneByOne adds n objects with calls of add, for a [MultipleAdder] without a faster way. If
// an object has a bad archive, it still adds the others, except those that refer to it. Then
// the error is an [*AddError].
func AddOneByOne(ctx context.Context, n int, objects iter.Seq2[Import, error], add func(info *PathInfo, archive io.Reader) error) error {
	var failures Failures
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(ctx)
		}
		if err == nil {
			err = addObject(&failures, object, add)
		}
		if err != nil {
			return failures.Err(err)
		}
	}
	if got != n {
		return failures.Err(fmt.Errorf("got %d objects instead of %d", got, n))
	}
	return failures.Err(nil)
}

// addObject adds an object, or records its failure. An error concerns all objects.
func addObject(failures *Failures, object Import, add func(info *PathInfo, archive io.Reader) error) error {
	if err := failures.CheckReferences(object.Info); err != nil {
		return failures.Fail(object.Info.Path, err)
	}
	archive := &ObjectReader{Archive: object.NAR}
	err := add(object.Info, archive)
	switch {
	case archive.IsFault(err):
		return failures.Fail(object.Info.Path, err)
	case err == nil:
		failures.Succeed()
	}
	return err
}

// A MismatchError reports an archive that does not match its path info, with the text of Nix.
type MismatchError struct {
	What           string // "hash", "size" or "ca hash"
	Path           storepath.Path
	Specified, Got string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s mismatch importing path '%s';\n  specified: %s\n  got:       %s", e.What, e.Path, e.Specified, e.Got)
}

// CheckArchive returns a [*MismatchError] unless the hash and the size in bytes of an archive
// match the info.
func (info *PathInfo) CheckArchive(hash nixhash.Hash, size uint64) error {
	if hash != info.NARHash {
		return &MismatchError{"hash", info.Path, info.NARHash.WithNix32(), hash.WithNix32()}
	}
	if size != info.NARSize {
		return &MismatchError{"size", info.Path, fmt.Sprint(info.NARSize), fmt.Sprint(size)}
	}
	return nil
}

// CheckContents returns a [*MismatchError] unless the contents have the hash of the info's
// content address, in one of the two forms of Nix. The address is weak if other contents have
// the same content address and references: like a path without a content address, such a path
// needs a signature.
//
// The form without offsets is weak for an object that mentions its own path. An object that has
// a self-reference and does not mention its path is weak, too: it may be such an object with
// all mentions replaced by NUL bytes.
func (info *PathInfo) CheckContents(got nar.ContentHashes) (weak bool, err error) {
	switch want := info.CA.Hash(); {
	case got.WithOffsets == want:
		return got.Mentions == 0 && slices.Contains(info.References, info.Path), nil
	case got.Plain == want:
		return true, nil
	default:
		return false, &MismatchError{"ca hash", info.Path, want.WithNix32(), got.Plain.WithNix32()}
	}
}

// A MissingReferenceError reports, with the text of Nix, that an object cannot be added because
// one of its references is not valid. It does not match [ErrNotFound]: the path that the caller
// asked for is not missing.
type MissingReferenceError struct {
	Path      storepath.Path // the object; "" if unknown
	Reference storepath.Path
	To        string // the store, for another text than Nix's; may be ""
}

func (e *MissingReferenceError) Error() string {
	if e.To == "" {
		return fmt.Sprintf("path '%s' is not valid", e.Reference)
	}
	return fmt.Sprintf("cannot add '%s' to %s because the reference '%s' is not valid", e.Path, e.To, e.Reference)
}

// An InfoError reports that a store refuses an object because of its path info, or because its
// contents do not match the info. It concerns no other object.
type InfoError struct {
	Path storepath.Path
	Err  error
}

func (e *InfoError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *InfoError) Unwrap() error { return e.Err }

// An UntrustedError reports that an object lacks a required signature, with the text of Nix.
type UntrustedError struct {
	Path storepath.Path
	Weak bool // it has a weak content address: see [PathInfo.CheckContents]
}

func (e *UntrustedError) Error() string {
	text := fmt.Sprintf("cannot add path '%s' because it lacks a signature by a trusted key", e.Path)
	if e.Weak {
		text += "; other contents have the same content address, since it does not cover where the object mentions its own path"
	}
	return text
}

// A ModifiedError reports that the contents of a path have changed since it was added, with the
// text of Nix.
type ModifiedError struct {
	Path          storepath.Path
	Expected, Got nixhash.Hash // hashes of its archive; Got is zero for an archive that is too long and was not read to its end
}

func (e *ModifiedError) Error() string {
	if e.Got.IsZero() {
		return fmt.Sprintf("path '%s' was modified! expected hash '%s', got a longer archive", e.Path, e.Expected.WithNix32())
	}
	return fmt.Sprintf("path '%s' was modified! expected hash '%s', got '%s'", e.Path, e.Expected.WithNix32(), e.Got.WithNix32())
}
