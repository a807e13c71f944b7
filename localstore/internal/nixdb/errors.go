package nixdb

import (
	"errors"
	"fmt"
	"syscall"

	"zombiezen.com/go/sqlite"
)

// ErrClosed says that a store was used after it was closed.
var ErrClosed = errors.New("the store is closed")

// ErrReadOnly is the error of operations that would write to a store that was opened for reading only.
var ErrReadOnly = errors.New("the store is open for reading only")

// A SchemaError says that a store cannot be used because of the schema of its database, or of the
// store directory that the paths in it have.
type SchemaError struct {
	File   string // that says so
	Reason string
}

func (e *SchemaError) Error() string { return fmt.Sprintf("'%s': %s", e.File, e.Reason) }

// An Error says that the database of a store failed: its disk is full or cannot be
// written to, or it is damaged.
type Error struct {
	File string
	Err  error // what SQLite said, and perhaps the system
}

func (e *Error) Error() string {
	reason := e.Err.Error()
	switch sqlite.ErrCode(e.Err).ToPrimary() {
	case sqlite.ResultFull:
		reason = diskFull
	case sqlite.ResultReadOnly:
		reason = "it cannot be written to" + e.because()
	case sqlite.ResultCantOpen:
		reason = "it cannot be opened" + e.because()
	case sqlite.ResultIOErr:
		reason += e.because()
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		reason = "it is damaged"
	}
	return fmt.Sprintf("database '%s': %s", e.File, reason)
}

// because returns what the system said, if that is known.
func (e *Error) because() string {
	said, ok := errors.AsType[syscall.Errno](e.Err)
	switch {
	case said == syscall.ENOSPC:
		return ": " + diskFull
	case ok:
		return ": " + said.Error()
	}
	return ""
}

const diskFull = "the disk is full; 'gc' frees space"

// IsDiskFull reports whether err says that a disk or a quota has no room left.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull
}

// Unwrap returns what SQLite said.
func (e *Error) Unwrap() error { return e.Err }
