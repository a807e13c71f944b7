package localstore

import (
	"fmt"
	"io/fs"

	"pix/localstore/internal/nixdb"
)

var (
	// ErrClosed says that a store was used after it was closed.
	ErrClosed = nixdb.ErrClosed

	// ErrReadOnly is the error of operations that would write to a store that was opened with [Options.ReadOnly].
	ErrReadOnly = nixdb.ErrReadOnly
)

// A SchemaError says that a store cannot be used because of the schema of its database, or of the
// store directory that the paths in it have.
type SchemaError = nixdb.SchemaError

// A DatabaseError says that the database of a store failed: its disk is full or cannot be
// written to, or it is damaged.
type DatabaseError = nixdb.Error

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
