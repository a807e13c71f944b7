//go:build !unix

package localstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
)

const (
	lockShared = iota
	lockExclusive
)

// Without the locks that Nix takes a store cannot be shared, so none is opened.
var errNoLocks = fmt.Errorf("stores cannot be opened on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func openLockFile(string) (*os.File, error)     { return nil, errNoLocks }
func tryLock(*os.File, int) (bool, error)       { return false, errNoLocks }
func lock(context.Context, *os.File, int) error { return errNoLocks }
func unlock(*os.File) error                     { return errNoLocks }
