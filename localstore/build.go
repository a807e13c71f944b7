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

// The methods in build*.go implement builder.Store. A build holds the locks of its outputs from the check whether
// they are valid until they are registered.

// ObjectFile returns the file name of the object of a path on this machine. The path need not be valid.
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
// no other process changes from, which is canonical and on the file system of the store. If from is the place of the
// path, it stays there. With replace, it takes the place of a valid object; without it, a valid path is an error.
// With optimise, files are replaced by hard links as with [Options.AutoOptimise]. It does not make the path valid:
// see [Store.RegisterOutputs].
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

// RegisterOutputs makes paths valid, all or none. [Store.AddOutput] has placed their objects. It replaces the infos
// of paths that are valid already. The caller holds the locks of the paths. References must be valid, or among the
// paths.
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

// UpdateInfo replaces the ultimate flag, the signatures and the hash of a valid path. The error is a
// [*store.NotFoundError] if the path is not valid.
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

// KeepCheck moves the file or directory at from beside the object of a path, to the name of the object with the
// suffix ".check". The next check of the path replaces it. A collector deletes it unless a root protects the path.
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

// isBaseName reports whether a file in the store directory can have this name with the suffix of a lock file.
func isBaseName(name string) bool {
	return name != "" && name == filepath.Base(name) && name != "." && name != ".." && len(name) <= 240
}

var errNoLockName = errors.New("it is not the name of an object or an output")
