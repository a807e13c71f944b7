package localstore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"syscall"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/pathlock"
	"pix/store"
	"pix/storepath"
)

// add creates an object under the lock of its path, and registers the path. If the path is already valid, add
// does nothing, unless replace is set. It reports whether the path was invalid before: then the database has
// exactly this info.
//
// create creates the object under a name. If it fails, it leaves nothing behind. If the name already exists, it
// changes nothing and returns [fs.ErrExist].
func (s *Store) add(ctx context.Context, info *store.PathInfo, replace bool, create func(name string) error) (added bool, err error) {
	if err := s.checkInfo(info); err != nil {
		return false, err
	}
	if _, err := s.database(ctx, true); err != nil { // opens it again if it was deleted
		return false, err
	}
	roots, err := s.addTempRoots(ctx, info.Path)
	if err != nil {
		return false, err
	}
	if !replace && s.hasFile(info.Path) { // else it is not valid
		if valid, err := s.isValid(ctx, info.Path, (*database).readOnWriter); err != nil || valid {
			return false, err
		}
	}
	if !replace { // a repair may hold a lock that a collector waits for
		if err := s.collectIfFull(ctx); err != nil {
			return false, err
		}
	}
	l, err := s.lockPath(ctx, info.Path)
	if err != nil {
		return false, err
	}
	defer l.Release()
	valid := false
	if replace {
		if valid, err = s.IsValidPath(ctx, info.Path); err != nil {
			return false, err
		}
	}
	err = s.put(ctx, info.Path, valid, create)
	if lost := l.Check(); lost != nil {
		return false, errors.Join(lost, err)
	}
	if err == errIsValid {
		return false, roots.Check()
	}
	if err == nil {
		added, err = s.register(ctx, roots, replace, info)
	}
	if err != nil {
		s.removeUnlessValid(ctx, info.Path)
	}
	return added, err
}

// lockPath waits until no other process makes, replaces or invalidates the object of a path. The caller must
// hold no other lock.
func (s *shared) lockPath(ctx context.Context, path storepath.Path) (*pathlock.Lock, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	l, err := inStoreDir(s, func() (*pathlock.Lock, error) {
		return s.locks.Lock(ctx, s.object(path), func() { say(ctx, "waiting for lock on '%s'", path) })
	})
	if errors.Is(err, syscall.EROFS) {
		err = cmp.Or(s.checkWritable(), err)
	}
	return l, err
}

// tryLockPath returns nil if the lock cannot be had at once. The caller may hold others.
func (s *shared) tryLockPath(path storepath.Path) (*pathlock.Lock, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	return inStoreDir(s, func() (*pathlock.Lock, error) { return s.locks.Try(s.object(path)) })
}

// hasFile reports whether a file has the name of a path, valid or not.
func (s *Store) hasFile(path storepath.Path) bool {
	_, err := objects.Lstat(s.object(path))
	return !errors.Is(err, fs.ErrNotExist)
}

// isWanted makes a temporary root of a path, and reports whether its object has to be made.
func (s *Store) isWanted(ctx context.Context, path storepath.Path, replace bool) (bool, error) {
	if _, err := s.addTempRoots(ctx, path); err != nil {
		return false, err
	}
	valid, err := s.isValid(ctx, path, (*database).readOnWriter)
	return err == nil && (!valid || replace), err
}

// errIsValid says that the path of an object that was to be created is already valid.
var errIsValid = errors.New("it is valid already")

// put creates an object under its name. The caller says whether the path is valid: a valid object is replaced when
// the new one is complete. Anything else of that name is the rest of an attempt, and put removes it. If the path
// turns out to be valid although the caller said that it is not, the error is errIsValid.
func (s *Store) put(ctx context.Context, path storepath.Path, valid bool, create func(name string) error) (err error) {
	name := s.object(path)
	if valid {
		err = s.replace(ctx, name, create)
	} else if err = create(name); errors.Is(err, fs.ErrExist) {
		if err = s.removeRest(ctx, path); err == nil {
			err = create(name)
		}
	}
	if err == nil {
		err = objects.ClearAttributes(name)
	}
	// Files must be on the disk before they are linked to, since a valid object gets the link.
	if err == nil && s.opts.SyncObjects {
		err = objects.Sync(name)
	}
	if err == nil && s.opts.AutoOptimise {
		if err = s.linkNewObject(ctx, path, valid); err == nil && s.opts.SyncObjects {
			err = objects.SyncDirs(name)
		}
	}
	return err
}

// removeRest removes what an attempt has left under the name of a path.
func (s *Store) removeRest(ctx context.Context, path storepath.Path) error {
	switch valid, err := s.IsValidPath(ctx, path); {
	case err != nil:
		return err
	case valid:
		return errIsValid
	}
	return objects.Remove(s.object(path))
}

// replace replaces a valid object by a new one. With SyncObjects, the new object is on the disk before it gets the
// name, and the name is on the disk before the old object is deleted: a power cut leaves one of them.
func (s *Store) replace(ctx context.Context, name string, create func(name string) error) error {
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	if err := create(d.object(tempObject)); err != nil {
		return err
	}
	if !s.opts.SyncObjects {
		return d.exchange(tempObject, name)
	}
	if err := objects.Sync(d.object(tempObject)); err != nil {
		return err
	}
	if err := d.exchange(tempObject, name); err != nil {
		return err
	}
	return objects.SyncFile(s.storeDir)
}

// removeUnlessValid removes an object that could not be registered, to free its space.
func (s *Store) removeUnlessValid(ctx context.Context, path storepath.Path) {
	valid, err := s.IsValidPath(context.WithoutCancel(ctx), path)
	if err == nil && !valid {
		objects.Remove(s.object(path))
	}
}
