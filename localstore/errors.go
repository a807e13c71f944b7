package localstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"zombiezen.com/go/sqlite"
)

// ErrClosed says that a store was used after it was closed.
var ErrClosed = errors.New("the store is closed")

// ErrReadOnly is the error of operations that would write to a store that was opened with [Options.ReadOnly].
var ErrReadOnly = errors.New("the store is open for reading only")

// A NoStoreError says that a store does not exist.
type NoStoreError struct {
	Info     Info   // where its parts would be
	Database string // the file that does not exist
}

func (e *NoStoreError) Error() string {
	return fmt.Sprintf("there is no store in '%s': '%s' does not exist; a store is made when something is added to it", e.Info.StoreDir, e.Database)
}

// Unwrap returns [fs.ErrNotExist].
func (e *NoStoreError) Unwrap() error { return fs.ErrNotExist }

// A SchemaError says that a store cannot be used because of the schema of its database, or of the
// store directory that the paths in it have.
type SchemaError struct {
	File   string // that says so
	Reason string
}

func (e *SchemaError) Error() string { return fmt.Sprintf("'%s': %s", e.File, e.Reason) }

// A DatabaseError says that the database of a store failed: its disk is full or cannot be
// written to, or it is damaged.
type DatabaseError struct {
	File string
	Err  error // what SQLite said, and perhaps the system
}

func (e *DatabaseError) Error() string {
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
func (e *DatabaseError) because() string {
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

// isDiskFull reports whether err says that a disk or a quota has no room left.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull
}

// Unwrap returns what SQLite said.
func (e *DatabaseError) Unwrap() error { return e.Err }

// ignoreMissing returns err, but nil if it says that a file is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
