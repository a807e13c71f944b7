package uploads

import (
	"errors"
	"fmt"
	"syscall"

	"pix/nixhash"
)

// Reasons for which an upload is refused. Errors of [Spool.Receive] match at most one of them.
var (
	// ErrInvalid is the reason of a file that is not what its name says, or not an archive.
	ErrInvalid = errors.New("the upload is not valid")
	// ErrTooLarge is the reason of an archive that exceeds the limits of a single one.
	ErrTooLarge = errors.New("the upload is too large")
	// ErrFull is the reason of an upload for which there is no space.
	ErrFull = errors.New("there is no space for the upload")
	// ErrMethod is the reason of a compression method that is not supported.
	ErrMethod = errors.New("the compression method is not supported")
)

// A reasonError is an error with a text of its own that matches a reason.
type reasonError struct {
	reason error
	text   string
}

func (e *reasonError) Error() string { return e.text }

// Unwrap returns the reason.
func (e *reasonError) Unwrap() error { return e.reason }

func refuse(reason error, format string, args ...any) error {
	return &reasonError{reason, fmt.Sprintf(format, args...)}
}

// wrongName returns the error of a file whose hash is not its name.
func wrongName(name Name, got nixhash.Hash) error {
	return refuse(ErrInvalid, "the name of the archive says that its hash is %s, but it is %s", name.FileHash.Nix32(), got.Nix32())
}

// diskError returns the error of an operation on the disk. It matches [ErrFull] if the disk or a quota of the system is
// full.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return refuse(ErrFull, "there is no space on the disk of the server")
	}
	return err
}
