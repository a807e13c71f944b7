package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/activity"
	"pix/storepath"
)

// A CopyError reports the objects that could not be copied.
type CopyError struct {
	Failed []*ObjectError // in the order of copying, including objects that refer to failed ones
	Copied []*PathInfo    // in the order of copying
	Total  int            // number of objects to copy
	Err    error          // why the rest was not tried; nil if everything was tried
}

func (e *CopyError) Error() string {
	text := describeFailures(e.Failed, e.Err, func(f *ObjectError) string { return fmt.Sprintf("copying '%s': %v", f.Path, f.Err) })
	if e.Total > 1 {
		text += fmt.Sprintf("; %d of %d paths were copied", len(e.Copied), e.Total)
	}
	return text
}

// Unwrap returns all failures and Err.
func (e *CopyError) Unwrap() []error { return failuresAndErr(e.Failed, e.Err) }

// A copying is a call of [CopyObjects]. It calls a destination that stops at the first bad
// object several times.
type copying struct {
	dst, src Store
	opts     *CopyOptions
	all      []*PathInfo
	absent   map[storepath.Path]bool  // objects that are not copied yet
	failed   map[storepath.Path]error // objects that are not retried
	retried  map[storepath.Path]bool  // objects that were retried
	guesses  int                      // attempts in a row that added nothing and only guessed the bad object
	lastErr  error                    // the error of the last attempt
}

// maxGuesses limits the attempts in which a destination adds nothing and does not name the bad
// object. If it refuses everything, each attempt reads archives in vain.
const maxGuesses = 4

func newCopying(dst, src Store, objects []*PathInfo, opts *CopyOptions) *copying {
	c := &copying{
		dst: dst, src: src, opts: opts, all: objects,
		absent: make(map[storepath.Path]bool, len(objects)), failed: make(map[storepath.Path]error), retried: make(map[storepath.Path]bool),
	}
	for _, info := range objects {
		c.absent[info.Path] = true
	}
	return c
}

// resolve is called after an attempt to copy some objects has failed with err. read has the
// archives that could not be read. It returns the objects to retry, and the error that ends the
// copy, which is nil if only single objects have failed.
func (c *copying) resolve(ctx context.Context, some []*PathInfo, read map[storepath.Path]readFailure, err error) (again []*PathInfo, stop error) {
	c.lastErr = err
	bad, stop := failuresOf(err, read)
	missing, queryErr := c.missing(ctx, some, bad)
	if queryErr != nil {
		return nil, errors.Join(err, queryErr)
	}
	missing = slices.Clone(missing)
	progress := len(missing) < len(some)
	if progress {
		c.guesses = 0
	}
	if stop != nil && len(bad) == 0 && c.canGuess(stop, missing) {
		c.guesses++
		bad[missing[0].Path], stop = stop, nil
	}
	for i, info := range missing {
		why := bad[info.Path]
		if why == nil || c.isDependent(why) {
			continue
		}
		progress = true
		if fresh := c.freshInfo(ctx, info); stop == nil && !c.retried[info.Path] && (fresh != info || isRetryable(why) && !read[info.Path].retried) {
			c.retried[info.Path] = true
			missing[i] = fresh
			continue
		}
		c.failed[info.Path] = why
	}
	if stop != nil || !progress {
		return nil, stop
	}
	return slices.DeleteFunc(missing, func(info *PathInfo) bool { return c.failureOf(info) != nil }), nil
}

// canGuess reports whether the first missing object is probably the one that the destination
// has refused. A daemon adds the objects of a stream in their order, and its error is a text
// that need not name the object.
func (c *copying) canGuess(err error, missing []*PathInfo) bool {
	_, isDaemonError := errors.AsType[*activity.Error](err)
	return isDaemonError && !c.opts.Repair && len(missing) > 0 && c.guesses < maxGuesses
}

// isDependent reports whether an object has failed only because another one was not copied.
func (c *copying) isDependent(why error) bool {
	reference, ok := errors.AsType[*MissingReferenceError](why)
	return ok && c.absent[reference.Reference]
}

// failuresOf returns the failed objects, and the error that concerns all objects.
func failuresOf(err error, read map[storepath.Path]readFailure) (bad map[storepath.Path]error, stop error) {
	bad = make(map[storepath.Path]error)
	for path, f := range read {
		bad[path] = f.err
	}
	if failed, ok := errors.AsType[*AddError](err); ok {
		for _, f := range failed.Failed {
			if bad[f.Path] == nil {
				bad[f.Path] = f.Err
			}
		}
		return bad, failed.Err
	}
	if mismatch, ok := errors.AsType[*MismatchError](err); ok && bad[mismatch.Path] == nil {
		bad[mismatch.Path] = err
	}
	if refused, ok := errors.AsType[*InfoError](err); ok && bad[refused.Path] == nil {
		bad[refused.Path] = err
	}
	if untrusted, ok := errors.AsType[*UntrustedError](err); ok && bad[untrusted.Path] == nil {
		bad[untrusted.Path] = err
	}
	// A destination that cannot continue may return the error of an archive as another error.
	if len(bad) == 0 || errors.Is(err, ErrTooManyFailures) {
		return bad, err
	}
	return bad, nil
}

// missing returns the objects that were not copied.
func (c *copying) missing(ctx context.Context, some []*PathInfo, bad map[storepath.Path]error) ([]*PathInfo, error) {
	var missing []*PathInfo
	if c.opts.Repair { // valid paths are replaced, so validity proves nothing
		first := slices.IndexFunc(some, func(info *PathInfo) bool { return bad[info.Path] != nil })
		missing = some[max(first, 0):]
	} else {
		valid, err := completePaths(ctx, c.dst, pathsOf(some), false)
		if err != nil {
			return nil, err
		}
		missing = withoutPaths(some, valid)
	}
	for _, info := range some {
		delete(c.absent, info.Path)
	}
	for _, info := range missing {
		c.absent[info.Path] = true
	}
	return missing, nil
}

// freshInfo returns the current info of an object, or the same info if it has not changed. The
// source may have cached an older one, whose archive it no longer has.
func (c *copying) freshInfo(ctx context.Context, info *PathInfo) *PathInfo {
	r, ok := As[Refresher](c.src)
	if !ok || c.retried[info.Path] {
		return info
	}
	fresh, err := r.RefreshPathInfo(ctx, info.Path)
	if err != nil || fresh.Path != info.Path || fresh.sameObject(info) {
		return info
	}
	return fresh
}

// sameObject reports whether two infos describe the same archive with the same references and
// signatures.
func (info *PathInfo) sameObject(other *PathInfo) bool {
	return info.NARHash == other.NARHash && info.NARSize == other.NARSize && info.CA == other.CA &&
		slices.Equal(info.References, other.References) && slices.Equal(info.Signatures, other.Signatures)
}

// failureOf returns why an object that was not copied is not retried, or nil.
func (c *copying) failureOf(info *PathInfo) error {
	if why := c.failed[info.Path]; why != nil {
		return why
	}
	for _, ref := range info.References {
		if ref != info.Path && c.failed[ref] != nil {
			c.failed[info.Path] = &MissingReferenceError{Path: info.Path, Reference: ref}
			return c.failed[info.Path]
		}
	}
	return nil
}

// result returns the error of the call. stop is the error that ended the copy, or nil.
func (c *copying) result(stop error) error {
	e := &CopyError{Total: len(c.all), Err: stop}
	for _, info := range c.all {
		if !c.absent[info.Path] {
			e.Copied = append(e.Copied, info)
		} else if why := c.failureOf(info); why != nil {
			e.Failed = append(e.Failed, &ObjectError{info.Path, why})
		}
	}
	switch {
	case len(e.Copied) == len(c.all): // other programs may have added the rest
		return nil
	case len(e.Failed) == 0 && stop == nil: // the destination does not name the objects that it has not added
		e.Err = c.lastErr
	}
	if len(e.Failed) == 0 && len(e.Copied) == 0 {
		return e.Err
	}
	return e
}
