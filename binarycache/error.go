package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"pix/internal/redact"
	"pix/storepath"
)

// A RequestError says that a server did not give a file: that it said no, or did not
// answer, or broke off, and did not do better when it was asked again.
//
// It is [fs.ErrNotExist] where the server said that there is no such file: with 404, 410
// or, as some do that list nothing, 403.
type RequestError struct {
	URL    string // without a password
	Status int    // of the answer; 0 if there was none
	Tries  int    // how often it was tried
	Err    error  // what happened; nil where Status says it all
}

func (e *RequestError) Error() string {
	text := fmt.Sprintf("unable to download '%s'", e.URL)
	if e.Status != 0 {
		text += fmt.Sprintf(": HTTP status %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Tries > 1 {
		text += fmt.Sprintf(" (tried %d times)", e.Tries)
	}
	return text
}

// Unwrap returns what happened.
func (e *RequestError) Unwrap() error { return e.Err }

// Is reports whether target is [fs.ErrNotExist], and the server said so.
func (e *RequestError) Is(target error) bool { return target == fs.ErrNotExist && isMissing(e.Status) }

// isMissing reports whether a status says that there is no such file.
func isMissing(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusForbidden
}

// A NoCacheError says that the directory of a cache does not exist.
type NoCacheError struct{ Dir string }

func (e *NoCacheError) Error() string {
	return fmt.Sprintf("there is no binary cache in '%s': the directory does not exist; a cache is made when something is added to it", e.Dir)
}

// Unwrap returns [fs.ErrNotExist].
func (e *NoCacheError) Unwrap() error { return fs.ErrNotExist }

// An ArchiveError says that the archive of a path cannot be had, or is not what it should
// be.
type ArchiveError struct {
	Path  storepath.Path
	URL   string // as in its narinfo
	Cache string // the URI of the cache, without a password
	Err   error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("archive '%s' of '%s' in %s: %v", redact.URL(e.URL), e.Path, e.Cache, e.Err)
}

// Unwrap returns why.
func (e *ArchiveError) Unwrap() error { return e.Err }

// Retryable reports whether downloading the whole archive again may give the right one: what came was
// truncated or damaged, or its file was replaced. Failed requests were repeated already.
func (e *ArchiveError) Retryable() bool {
	_, request := errors.AsType[*RequestError](e.Err)
	return !errors.Is(e.Err, ErrGone) && (!request || errors.Is(e.Err, errReplaced))
}

// A MismatchError says that an archive is not what the cache says of it. What is not what
// it should be when it is added is a [store.MismatchError].
type MismatchError struct {
	What      string // "NAR hash", "NAR size", "file hash" or "file size"
	Want, Got string // of a size, Got may be "more"
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s mismatch: specified %s, got %s", e.What, e.Want, e.Got)
}

// ended returns why a context that is done has ended. It is the context's error and wraps
// its cause, but for the causes that are this package's own.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch cause {
	case ErrClosed, errNoConnection, errNoResponse, errStalled:
		return cause
	}
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
