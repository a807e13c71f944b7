package localstore

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// ErrClosed says that a store was used after it was closed.
var ErrClosed = errors.New("the store is closed")

// ErrReadOnly says that a store that was opened for reading alone was to be changed.
var ErrReadOnly = errors.New("the store was opened for reading alone")

// A SchemaError says that a store cannot be used because of the schema of its database.
type SchemaError struct {
	File   string // that says which schema it is
	Reason string
}

func (e *SchemaError) Error() string { return fmt.Sprintf("'%s': %s", e.File, e.Reason) }

// A DatabaseError says that the database of a store failed: its disk is full or cannot be
// written to, or it is damaged.
type DatabaseError struct {
	File string
	Err  error // what SQLite said
}

func (e *DatabaseError) Error() string {
	reason := e.Err.Error()
	switch sqlite.ErrCode(e.Err).ToPrimary() {
	case sqlite.ResultFull:
		reason = "the disk is full"
	case sqlite.ResultReadOnly:
		reason = "it cannot be written to"
	case sqlite.ResultCantOpen:
		reason = "it cannot be opened"
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		reason = "it is damaged"
	}
	return fmt.Sprintf("database '%s': %s", e.File, reason)
}

// Unwrap returns what SQLite said.
func (e *DatabaseError) Unwrap() error { return e.Err }
