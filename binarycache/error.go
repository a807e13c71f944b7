package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"pix/internal/redact"
	"pix/storepath"
)

// A RequestError reports that a server did not send or accept a file: it refused, did not answer, or broke
// off, and retries did not help.
//
// It is [fs.ErrNotExist] if the server reported that there is no such file to send: with 404, 410, or 403, which
// some servers send that do not list files.
type RequestError struct {
	URL    string // without a password
	Method string // of the request, such as "PUT"; "" is a download
	Status int    // of the response; 0 if there was none
	Answer string // the beginning of the text that the server sent with an error, in one line, without control characters
	Tries  int    // the number of attempts
	Err    error  // the cause; nil if Status says everything
}

func (e *RequestError) Error() string {
	verb := "download"
	switch e.Method {
	case http.MethodPut, http.MethodPost:
		verb = "upload"
	case http.MethodDelete:
		verb = "delete"
	}
	text := fmt.Sprintf("unable to %s '%s'", verb, e.URL)
	if e.Status != 0 {
		text += fmt.Sprintf(": HTTP status %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Answer != "" {
		text += ": " + e.Answer
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Tries > 1 {
		text += fmt.Sprintf(" (tried %d times)", e.Tries)
	}
	return text
}

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// Is reports whether target is [fs.ErrNotExist] and the server reported that the file does not exist. A server that does
// not accept an upload has reported nothing about the file.
func (e *RequestError) Is(target error) bool {
	return target == fs.ErrNotExist && isMissing(e.Status) && (e.Method == "" || e.Method == http.MethodHead)
}

// NoConnection reports whether the last attempt got no connection within the timeout: the host is down, or its packets are dropped.
func (e *RequestError) NoConnection() bool {
	op, ok := errors.AsType[*net.OpError](e.Err)
	return errors.Is(e.Err, errNoConnection) || ok && op.Op == "dial" && op.Timeout()
}

// isMissing reports whether a status means that the file does not exist.
func isMissing(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusForbidden
}

// A NoCacheError reports that the directory of a cache does not exist.
type NoCacheError struct{ Dir string }

func (e *NoCacheError) Error() string {
	return fmt.Sprintf("there is no binary cache in '%s': the directory does not exist; the first addition creates the cache", e.Dir)
}

// Unwrap returns [fs.ErrNotExist].
func (e *NoCacheError) Unwrap() error { return fs.ErrNotExist }

// An ArchiveError reports that the archive of a path cannot be read or does not match its narinfo.
type ArchiveError struct {
	Path  storepath.Path
	URL   string // as in its narinfo
	Cache string // the URI of the cache, without a password
	Err   error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("archive '%s' of '%s' in %s: %v", redact.URL(e.URL), e.Path, e.Cache, e.Err)
}

// Unwrap returns the cause.
func (e *ArchiveError) Unwrap() error { return e.Err }

// Retryable reports whether downloading the whole archive again may succeed: the archive was truncated or
// damaged, or its file was replaced. Failed requests have already been retried.
func (e *ArchiveError) Retryable() bool {
	_, request := errors.AsType[*RequestError](e.Err)
	return !errors.Is(e.Err, ErrGone) && (!request || errors.Is(e.Err, errReplaced))
}

// A MismatchError reports that an archive does not match its narinfo. For archives that are added, the error
// is a [store.MismatchError].
type MismatchError struct {
	What      string // "NAR hash", "NAR size", "file hash" or "file size"
	Want, Got string // of a size, Got may be "more"

	modified error
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s mismatch: specified %s, got %s", e.What, e.Want, e.Got)
}

// Unwrap returns a [*store.ModifiedError] if the archive does not match, and nil if only its file does not.
func (e *MismatchError) Unwrap() error { return e.modified }

// contextError returns the error of a context that has ended. It is ctx.Err() and wraps the cause; a cause
// that this package has set is returned as it is.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch cause {
	case ErrClosed, errNoConnection, errNoResponse, errStalled, errUploadStalled:
		return cause
	}
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
