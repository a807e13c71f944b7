package localstore

import (
	"fmt"
	"io/fs"

	"pix/localstore/internal/nixdb"
)

var (
	// ErrClosed reports that a store was used after it was closed.
	ErrClosed = nixdb.ErrClosed

	// ErrReadOnly is the error of operations that would write to a store that was opened with [Options.ReadOnly].
	ErrReadOnly = nixdb.ErrReadOnly
)

// A SchemaError reports that a store cannot be used because of the schema version of its database, or because its paths
// belong to another store directory.
type SchemaError = nixdb.SchemaError

// A DatabaseError reports that the database of a store failed, because it is damaged, for example, or its disk is full
// or not writable.
type DatabaseError = nixdb.Error

// A NoStoreError reports that a store does not exist.
type NoStoreError struct {
	Info     Info   // the locations where it was expected
	Database string // the file that does not exist
}

func (e *NoStoreError) Error() string {
	return fmt.Sprintf("there is no store in '%s': '%s' does not exist; adding an object creates the store", e.Info.StoreDir, e.Database)
}

// Unwrap returns [fs.ErrNotExist].
func (e *NoStoreError) Unwrap() error { return fs.ErrNotExist }
