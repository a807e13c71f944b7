package main

import (
	"context"
	"errors"

	"pix"
	"pix/binarycache"
	"pix/daemon"
	"pix/store"
)

// The exit codes.
const (
	exitYes         = 0   // yes, or done
	exitNo          = 1   // no, or failed
	exitUsage       = 2   // usage error
	exitUnknown     = 3   // could not be determined: no store, or the connection was lost
	exitInterrupted = 130 // interrupted by a signal
)

// A silentError ends the command with an exit code and no message, because the result was printed.
type silentError struct{ code int }

func (*silentError) Error() string { return "" }

// A usageError is an error of flags, arguments or the environment.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// An unknownError says that an answer could not be determined.
type unknownError struct{ err error }

func (e *unknownError) Error() string { return e.err.Error() }
func (e *unknownError) Unwrap() error { return e.err }

// exitCode returns the exit code for an error.
func exitCode(ctx context.Context, err error) int {
	var (
		silent  *silentError
		usage   *usageError
		unknown *unknownError
		dial    *daemon.DialError
		uri     *pix.URIError
		request *binarycache.RequestError
		dir     *binarycache.StoreDirError
		copying *store.CopyError
		absent  *binarycache.NoCacheError
	)
	switch {
	case err == nil:
		return exitYes
	case errors.As(err, &silent):
		return silent.code
	case context.Cause(ctx) == errInterrupted:
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &copying) && copying.Err == nil: // both stores work, but some paths were not copied
		return exitNo
	case errors.As(err, &unknown), errors.As(err, &dial), errors.As(err, &uri), errors.As(err, &request), errors.As(err, &dir), errors.As(err, &absent),
		errors.Is(err, daemon.ErrConnLost), errors.Is(err, errors.ErrUnsupported):
		return exitUnknown
	}
	return exitNo
}
