package store

import (
	"context"
	"errors"
	"fmt"

	"pix/storepath"
)

// A Store answers which paths are valid, and what it knows of them. All methods may
// be called by any number of goroutines at once, except Close.
type Store interface {
	// Dir returns the store directory.
	Dir() storepath.Dir

	// IsValidPath reports whether the path is valid.
	IsValidPath(ctx context.Context, path storepath.Path) (bool, error)

	// QueryValidPaths returns those of the paths that are valid, sorted, each once.
	// With substitute, the store tries first to get those that are not from its
	// substituters.
	QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error)

	// QueryPathInfo returns what the store knows of a path. The error is a
	// [*NotFoundError] if the path is not valid.
	QueryPathInfo(ctx context.Context, path storepath.Path) (*PathInfo, error)

	// Close lets go of what the store holds. Calls under way fail.
	Close() error
}

// ErrNotFound is what every [*NotFoundError] is, for errors.Is.
var ErrNotFound = errors.New("path is not valid")

// A NotFoundError says that a path is not valid in the store that was asked.
type NotFoundError struct {
	Path storepath.Path
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("path '%s' is not valid", e.Path) }

// Is reports whether target is [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }
