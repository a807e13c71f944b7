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
	"pix/storepath"
)

// maxFailuresInRow is the number of objects that fail one after the other before the rest are not tried.
// If the source or the destination is out of order, every object fails, and each may take as long as all
// retries of a download.
const maxFailuresInRow = 16

// An ObjectError says why one of many objects was not added.
type ObjectError struct {
	Path storepath.Path
	Err  error
}

func (e *ObjectError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ObjectError) Unwrap() error { return e.Err }

// An AddError says which of the objects of a [MultipleAdder] could not be added.
type AddError struct {
	Failed []*ObjectError // in the order in which they failed
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

// errTooManyFailures is why the rest of many objects is not tried.
var errTooManyFailures = fmt.Errorf("the rest was not tried after %d failures in a row", maxFailuresInRow)

// describeFailures describes failures and, if it is not nil, the error that ended all. It only counts the
// objects that refer to others that failed.
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

// Failures collects the objects of a [MultipleAdder] that cannot be added, while the others are. The zero
// value has none. Its methods may be called by any number of goroutines at once.
type Failures struct {
	mu     sync.Mutex
	failed []*ObjectError
	paths  map[storepath.Path]bool
	row    int // failures since an object was added
}

// Fail notes why an object cannot be added. It returns an error if so many objects have failed one after
// the other that the caller should not try the rest.
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
		return errTooManyFailures
	}
	return nil
}

// Succeed notes that an object was added, or is ready to be.
func (f *Failures) Succeed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.row = 0
}

// CheckReferences returns a [*MissingReferenceError] if an object refers to one that has failed.
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

// Err returns what the call ends with: an [*AddError] if objects have failed, else err, which says why the
// rest was not tried; nil says that all others were added.
func (f *Failures) Err(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) == 0 {
		return err
	}
	return &AddError{slices.Clone(f.failed), err}
}

// An ObjectReader reads the archive of one of many objects, so that a [MultipleAdder] can decide whether
// an error concerns only this object.
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

// IsFault reports whether err, with which adding the object ended, concerns only this object: its archive
// could not be read, is malformed, or is not the one of the info; it lacks a signature or a reference; or the store
// refuses its info. Other errors, such as a full disk, would end the next object in the same way.
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

// AddOneByOne adds n objects with calls of add, for a [MultipleAdder] that cannot do it faster. An object
// with a bad archive, and objects that refer to it, do not keep the others from being added: the error is
// an [*AddError] then.
func AddOneByOne(ctx context.Context, n int, objects iter.Seq2[Import, error], add func(info *PathInfo, archive io.Reader) error) error {
	var failures Failures
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(ctx)
		}
		if err == nil {
			err = addOne(&failures, object, add)
		}
		if err != nil {
			return failures.Err(err)
		}
	}
	if got != n {
		return failures.Err(fmt.Errorf("%d objects came instead of %d", got, n))
	}
	return failures.Err(nil)
}

// addOne adds an object, or notes that it has failed. An error is for all objects.
func addOne(failures *Failures, object Import, add func(info *PathInfo, archive io.Reader) error) error {
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
