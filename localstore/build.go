package localstore

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"time"

	"pix/localstore/internal/objects"
	"pix/store"
	"pix/storepath"
)

// The methods in build*.go are what package builder needs of a store: see builder.Store. A build holds the locks of
// its outputs from its first look at them until they are registered.

// ObjectFile returns the name by which this process reaches the object of a path, valid or not.
func (s *Store) ObjectFile(path storepath.Path) string { return s.object(path) }

// StoreDirName returns the name of the store directory for all processes of this machine. [Store.ObjectFile] goes through a
// descriptor of this process if the directory is mounted read-only, as on NixOS.
func (s *Store) StoreDirName() string { return s.storeName }

// StateDir returns the state directory of the store, Nix's NIX_STATE_DIR.
func (s *Store) StateDir() string { return s.stateDir }

// RemoveObject deletes the files under the name of an invalid path, if there are any. The caller holds the lock of
// the path.
func (s *Store) RemoveObject(ctx context.Context, path storepath.Path) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if _, err := s.dir.Parse(string(path)); err != nil {
		return err
	}
	for deadline := time.Now().Add(removeTime); ; {
		err := s.removeRemains(ctx, path)
		if !errors.Is(err, syscall.ENOTEMPTY) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// removeTime is how long RemoveObject tries again. The builder of a process that was killed may add files to its output
// until its own death signal arrives.
const removeTime = 2 * time.Second

// AddOutput moves the file or directory at from to the place of info.Path. The caller holds the lock of the path, and
// no other process changes from, which is canonical and on the file system of the store. If from is the place
// of the path, it stays there. With replace, it takes the place of a valid object; without it, a valid path is an
// error. With optimise, files are replaced by hard links as with [Options.AutoOptimise]. An invalid path is not valid afterwards
// either: see [Store.RegisterOutputs].
func (s *Store) AddOutput(ctx context.Context, from string, info *store.PathInfo, replace, optimise bool) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.checkInfo(info); err != nil {
		return err
	}
	if _, err := s.addTempRoots(ctx, info.Path); err != nil {
		return err
	}
	valid, err := s.IsValidPath(ctx, info.Path)
	if err == nil && valid && !replace {
		err = errIsValid
	}
	if err != nil {
		return err
	}
	err = s.place(ctx, info.Path, valid, func(name string) error {
		if name == from {
			return nil
		}
		return objects.Move(from, name)
	})
	if err != nil || !optimise || s.opts.AutoOptimise {
		return err
	}
	err = s.linkNewObject(ctx, info.Path, valid)
	if err == nil && s.opts.SyncObjects {
		err = objects.SyncDirs(s.object(info.Path))
	}
	return err
}

// RegisterOutputs makes paths valid, all or none, whose objects [Store.AddOutput] has put in place, and replaces what
// is known of paths that are valid already. The caller holds their locks. References must be valid, or among the paths.
func (s *Store) RegisterOutputs(ctx context.Context, infos []*store.PathInfo) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	paths := make([]storepath.Path, len(infos))
	for i, info := range infos {
		paths[i] = info.Path
	}
	roots, err := s.addTempRoots(ctx, paths...)
	if err != nil {
		return err
	}
	_, err = s.register(ctx, roots, true, infos...)
	return err
}

// UpdateInfo replaces the ultimate flag, the signatures and the hash that are known of a valid path. The error is a
// [*store.NotFoundError] if it is not valid.
func (s *Store) UpdateInfo(ctx context.Context, info *store.PathInfo) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.checkInfo(info); err != nil {
		return err
	}
	return s.write(ctx, func(c *conn) error {
		_, valid, err := c.pathID(info.Path)
		if err == nil && !valid {
			err = notFound(info.Path)
		}
		if err == nil {
			_, err = c.register([]*store.PathInfo{info}, nil, true)
		}
		return err
	})
}

// KeepCheck moves the file or directory at from beside the object of a path, to its name with ".check" after it, where
// a later build of the same path replaces it. It is no object: a collector deletes it when the path is no root.
func (s *Store) KeepCheck(_ context.Context, from string, path storepath.Path) (file string, err error) {
	if s.opts.ReadOnly {
		return "", ErrReadOnly
	}
	if _, err := s.dir.Parse(string(path)); err != nil {
		return "", err
	}
	file = s.object(path) + ".check"
	if err := objects.Remove(file); err != nil {
		return "", err
	}
	return s.displayName(file), objects.Move(from, file)
}

// isBaseName reports whether a file in the store directory can have a name, with a suffix of some bytes.
func isBaseName(name string) bool {
	return name != "" && name == filepath.Base(name) && name != "." && name != ".." && len(name) <= 240
}

var errNoLockName = errors.New("it is no name of an object or an output")
