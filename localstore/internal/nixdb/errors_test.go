package nixdb_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/nixdb"
)

// A full disk is the error of the system for callers that do not know SQLite.
func TestDiskFullIs(t *testing.T) {
	full := fmt.Errorf("adding: %w", &nixdb.Error{File: "db.sqlite", Err: sqlite.ResultFull.ToError()})
	if !errors.Is(full, syscall.ENOSPC) || !nixdb.IsDiskFull(full) || errors.Is(full, syscall.EIO) {
		t.Errorf("%v is not ENOSPC alone", full)
	}
	busy := &nixdb.Error{File: "db.sqlite", Err: sqlite.ResultBusy.ToError()}
	if errors.Is(busy, syscall.ENOSPC) || nixdb.IsDiskFull(busy) {
		t.Errorf("%v is ENOSPC", busy)
	}
}
