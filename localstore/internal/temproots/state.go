package temproots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pix/internal/flock"
	"pix/internal/modes"
	"pix/storepath"
)

// A State contains the locations of the files of the protocol.
type State struct {
	Dir   string        // the state directory, usually /nix/var/nix
	Store storepath.Dir // the logical store directory
}

// RootsDir returns the directory of the files of temporary roots.
func (s State) RootsDir() string { return filepath.Join(s.Dir, "temproots") }

func (s State) gcLock() string { return filepath.Join(s.Dir, "gc.lock") }
func (s State) socket() string { return filepath.Join(s.Dir, "gc-socket/socket") }

// openGCLock opens gc.lock, or creates it.
func (s State) openGCLock() (*flock.File, error) {
	if err := makeDir(s.Dir); err != nil {
		return nil, err
	}
	return flock.Open(s.gcLock())
}

// lockGC locks gc.lock. If it has to wait for a collector, or for processes that prevent collections, it calls waiting
// once, unless waiting is nil.
//
// The state directory may be deleted during the wait. A lock on a gc.lock that has lost its name excludes no other
// process, so lockGC then locks the file that has the name now.
func (s State) lockGC(ctx context.Context, mode flock.Mode, waiting func()) (*flock.File, error) {
	for {
		f, err := s.openGCLock()
		if err != nil {
			return nil, err
		}
		if err := flock.Lock(ctx, f.File, mode, waiting); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		linked, err := f.IsLinked()
		if linked && err == nil {
			return f, nil
		}
		waiting = nil
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// KeepCollectorsOut waits until no collector runs. No collector starts before the returned file is closed. If
// KeepCollectorsOut has to wait and waiting is not nil, it calls waiting once.
func KeepCollectorsOut(ctx context.Context, s State, waiting func()) (*os.File, error) {
	f, err := s.lockGC(ctx, flock.Shared, waiting)
	if err != nil {
		return nil, fmt.Errorf("waiting for the garbage collector to end: %w", err)
	}
	return f.File, nil
}

// makeDir creates a directory of the protocol, and its missing parents.
func makeDir(name string) error { return modes.MkdirAll(name) }

// remove removes a file. It returns nil if the file does not exist.
func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
