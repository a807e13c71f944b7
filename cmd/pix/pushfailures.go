package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pix/store"
	"pix/storepath"
)

// pushFailures are the paths that a watching push could not copy, although the cache answers: the cache refuses them, or the
// store cannot read them. They are tried again after the paths that were not tried yet, and each pause before a retry is
// longer. So they do not delay others. A nil *pushFailures has no failures.
type pushFailures struct {
	first time.Duration // the pause before the first retry
	warn  func(string)
	paths map[storepath.Path]*pushFailure
	fresh []storepath.Path // the paths whose first failure was not reported yet
}

// A pushFailure is the last failure to copy a path.
type pushFailure struct {
	reason    string
	dependent bool // the path refers to another one that could not be copied
	pause     time.Duration
	next      time.Time // of the next retry, at the earliest
}

// maxPathPause is the longest pause before a path is tried again.
const maxPathPause = 10 * time.Minute

// maxNamedPaths is the number of paths that a report names.
const maxNamedPaths = 10

func newPushFailures(first time.Duration, warn func(string)) *pushFailures {
	return &pushFailures{first: first, warn: warn, paths: make(map[storepath.Path]*pushFailure)}
}

// A pushPathError is the error of one of several paths.
type pushPathError struct {
	path storepath.Path
	err  error
}

func (e *pushPathError) Error() string { return fmt.Sprintf("'%s': %v", e.path, e.err) }

// Unwrap returns the reason.
func (e *pushPathError) Unwrap() error { return e.err }

// due returns the new paths without those whose pause before a retry has not ended. It forgets paths that are not new any more,
// except recorded ones to which a new path refers: otherwise each retry of that one would report them again.
func (f *pushFailures) due(fresh []storepath.Path, recorded map[storepath.Path]bool) (due []storepath.Path) {
	if f == nil || len(f.paths) == 0 {
		return fresh
	}
	known, now, dependent := f.paths, time.Now(), false
	f.paths = make(map[storepath.Path]*pushFailure)
	for _, path := range fresh {
		failure := known[path]
		if failure != nil {
			f.paths[path] = failure
			dependent = dependent || failure.dependent
		}
		if failure == nil || !now.Before(failure.next) {
			due = append(due, path)
		}
	}
	for path, failure := range known {
		if dependent && recorded[path] {
			f.paths[path] = failure
		}
	}
	return due
}

// forget forgets the failures of paths that the cache has now.
func (f *pushFailures) forget(paths []storepath.Path) {
	if f == nil {
		return
	}
	for _, path := range paths {
		delete(f.paths, path)
	}
}

// split returns the paths that have not failed, and the others.
func (f *pushFailures) split(paths []storepath.Path) (untried, failed []storepath.Path) {
	if f == nil || len(f.paths) == 0 {
		return paths, nil
	}
	for _, path := range paths {
		if f.paths[path] == nil {
			untried = append(untried, path)
		} else {
			failed = append(failed, path)
		}
	}
	return untried, failed
}

// take records the failures of single paths in the error of a copy. It returns the rest of the error, which concerns all paths.
func (f *pushFailures) take(err error) (rest error) {
	if f == nil {
		return err
	}
	switch e := err.(type) {
	case *store.CopyError:
		for _, failed := range e.Failed {
			f.add(failed.Path, failed.Err)
		}
		if errors.Is(e.Err, store.ErrTooManyFailures) { // the next step leaves out the ones that have failed
			return nil
		}
		return e.Err
	case *pushPathError:
		if errors.Is(e.err, store.ErrNotFound) { // a reference is not valid, although the path is
			f.add(e.path, e.err)
			return nil
		}
		return f.take(e.err)
	case interface{ Unwrap() []error }:
		var others []error
		for _, part := range e.Unwrap() {
			others = append(others, f.take(part))
		}
		return errors.Join(others...)
	}
	return err
}

// add records a failure of a path.
func (f *pushFailures) add(path storepath.Path, err error) {
	failure := f.paths[path]
	if failure == nil {
		failure = &pushFailure{pause: f.first}
		f.paths[path] = failure
		f.fresh = append(f.fresh, path)
	} else {
		failure.pause = min(2*failure.pause, max(maxPathPause, f.first))
	}
	_, failure.dependent = errors.AsType[*store.MissingReferenceError](err)
	failure.reason, failure.next = errorText(err), time.Now().Add(failure.pause)
}

// report warns of the paths that have failed for the first time.
func (f *pushFailures) report() {
	f.warnOf(f.fresh, "; trying again")
	f.fresh = nil
}

// reportRest warns of all paths that were not copied.
func (f *pushFailures) reportRest() { f.warnOf(slices.Sorted(maps.Keys(f.paths)), "") }

// warnOf warns of paths that were not copied. It prints a line for each of the first maxNamedPaths that have a failure of
// their own, and the number of the other paths.
func (f *pushFailures) warnOf(paths []storepath.Path, then string) {
	named := 0
	paths = slices.DeleteFunc(slices.Clone(paths), func(path storepath.Path) bool { return f.paths[path] == nil }) // copied meanwhile
	for _, path := range paths {
		if failure := f.paths[path]; !failure.dependent && named < maxNamedPaths {
			named++
			f.warn(fmt.Sprintf("'%s' was not copied: %s%s", path, failure.reason, then))
		}
	}
	if more := len(paths) - named; more > 0 {
		f.warn(counted(more, "more path") + " not copied" + then)
	}
}
