package localstore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"syscall"

	"pix/localstore/internal/pathlock"
	"pix/store"
	"pix/storepath"
)

// add makes an object, under a lock, and makes its path valid. make is given the name of the file
// that it is to make; if it fails it leaves nothing, and if something is there already the error is
// [fs.ErrExist] and nothing else was done. If the path is valid already, nothing is done, unless the
// object is to be replaced. It reports whether what is known of the path is now exactly the info,
// since it was not valid.
func (s *Store) add(ctx context.Context, info *store.PathInfo, replace bool, make func(name string) error) (added bool, err error) {
	if err := s.checkInfo(info); err != nil {
		return false, err
	}
	if _, err := s.database(ctx, true); err != nil { // which may have to be made anew
		return false, err
	}
	roots, err := s.addTempRoots(ctx, info.Path)
	if err != nil {
		return false, err
	}
	if !replace && s.isThere(info.Path) { // else it is not valid
		if valid, err := s.isValid(ctx, info.Path, (*database).readOwn); err != nil || valid {
			return false, err
		}
	}
	if !replace { // who repairs may keep the collector out
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
	err = s.put(ctx, info.Path, valid, make)
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

// isThere reports whether there is anything under the name of a path, be it valid or not.
func (s *Store) isThere(path storepath.Path) bool {
	_, err := lstat(s.object(path))
	return !errors.Is(err, fs.ErrNotExist)
}

// isWanted makes a temporary root of a path, and reports whether its object has to be made.
func (s *Store) isWanted(ctx context.Context, path storepath.Path, replace bool) (bool, error) {
	if _, err := s.addTempRoots(ctx, path); err != nil {
		return false, err
	}
	valid, err := s.isValid(ctx, path, (*database).readOwn)
	return err == nil && (!valid || replace), err
}

// errIsValid says that there is a valid object where one was to be made.
var errIsValid = errors.New("it is valid already")

// put makes an object under its name. What is there is the rest of an attempt and removed; if
// it is valid, and said to be, it stays until the new one is complete. The error is errIsValid if it is
// and was not said to be.
func (s *Store) put(ctx context.Context, path storepath.Path, valid bool, make func(name string) error) (err error) {
	name := s.object(path)
	if valid {
		err = s.replace(ctx, name, make)
	} else if err = make(name); errors.Is(err, fs.ErrExist) {
		if err = s.removeRest(ctx, path); err == nil {
			err = make(name)
		}
	}
	if err == nil {
		err = clearAttributes(name)
	}
	// Files must be on the disk before they are linked to, since a valid object gets the link.
	if err == nil && s.opts.SyncObjects {
		err = syncObject(name)
	}
	if err == nil && s.opts.AutoOptimise {
		if err = s.autoOptimise(ctx, path, valid); err == nil && s.opts.SyncObjects {
			err = syncDirectories(name)
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
	return removeObject(s.object(path))
}

// replace makes an object in the place of another one, which is valid. So the new one is on the disk before
// it takes the place, and has the place on the disk before the old one is deleted.
func (s *Store) replace(ctx context.Context, name string, make func(name string) error) error {
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	if err := make(d.object(tempObject)); err != nil {
		return err
	}
	if !s.opts.SyncObjects {
		return d.exchange(tempObject, name)
	}
	if err := syncObject(d.object(tempObject)); err != nil {
		return err
	}
	if err := d.exchange(tempObject, name); err != nil {
		return err
	}
	return syncFile(s.storeDir)
}

// removeUnlessValid removes an object that could not be registered. It would do no harm, but
// take space.
func (s *Store) removeUnlessValid(ctx context.Context, path storepath.Path) {
	valid, err := s.IsValidPath(context.WithoutCancel(ctx), path)
	if err == nil && !valid {
		removeObject(s.object(path))
	}
}
