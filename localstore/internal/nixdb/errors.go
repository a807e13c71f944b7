package nixdb

import (
	"errors"
	"fmt"
	"syscall"

	"zombiezen.com/go/sqlite"
)

// ErrClosed reports that a store was used after it was closed.
var ErrClosed = errors.New("the store is closed")

// ErrReadOnly is the error of operations that would write to a read-only store.
var ErrReadOnly = errors.New("the store is open for reading only")

// A SchemaError reports that a store cannot be used because of the schema version of its database, or because its paths
// belong to another store directory.
type SchemaError struct {
	File   string // the file that has the wrong schema
	Reason string
}

func (e *SchemaError) Error() string { return fmt.Sprintf("'%s': %s", e.File, e.Reason) }

// An Error reports that the database of a store failed, because it is damaged, for example, or its disk is full or not
// writable.
type Error struct {
	File string
	Err  error // the error of SQLite, joined with the error of the system if that is known
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

// because returns the error of the system as a text, or "".
func (e *Error) because() string {
	errno, ok := errors.AsType[syscall.Errno](e.Err)
	switch {
	case errno == syscall.ENOSPC:
		return ": " + diskFull
	case ok:
		return ": " + errno.Error()
	}
	return ""
}

const diskFull = "the disk is full; 'gc' frees space"

// IsDiskFull reports whether err means that a disk or a quota is full.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull
}

// Unwrap returns the error of SQLite.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error of a full disk, and the disk is full. SQLite does not return the error of the system then.
func (e *Error) Is(target error) bool {
	return target == syscall.ENOSPC && sqlite.ErrCode(e.Err).ToPrimary() == sqlite.ResultFull
}
