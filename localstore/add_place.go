package localstore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"syscall"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/pathlock"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

// Step 3 of adding an object: give it its name in the store directory, under the lock of its path.

// placeAndRegister puts an object in place and makes its path valid. The path is a temporary root, which roots shows.
// If another process has made the path valid meanwhile, placeAndRegister changes nothing, unless repair is set. It
// reports whether the path was invalid before.
//
// create creates the object under a name, or moves it there. If it fails, it leaves no file. If the name already
// exists, it changes nothing and returns [fs.ErrExist].
func (s *Store) placeAndRegister(ctx context.Context, roots temproots.Held, info *store.PathInfo, repair bool, create func(name string) error) (added bool, err error) {
	if !repair { // a repair runs while VerifyStore keeps collectors out, so a collection would wait forever
		if err := s.CollectIfFull(ctx); err != nil {
			return false, err
		}
	}
	l, err := s.lockPath(ctx, info.Path)
	if err != nil {
		return false, err
	}
	defer l.Release()
	valid := false
	if repair {
		if valid, err = s.IsValidPath(ctx, info.Path); err != nil {
			return false, err
		}
	}
	err = s.placeWritten(ctx, info, valid, create)
	if lost := l.Check(); lost != nil {
		return false, errors.Join(lost, err)
	}
	if err == errIsValid {
		return false, roots.Check()
	}
	if err == nil {
		added, err = s.register(ctx, roots, repair, info)
	}
	if err != nil {
		s.removeUnlessValid(ctx, info.Path)
	}
	return added, err
}

// lockPath waits until no other process adds, replaces or invalidates the object of a path. The caller must hold no
// other lock, except the locks of [Store.WithLocks].
func (s *shared) lockPath(ctx context.Context, path storepath.Path) (*pathlock.Lock, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	if held := heldLock(ctx, s.object(path)); held != nil {
		return held.Lend(), nil
	}
	l, err := inStoreDir(s, func() (*pathlock.Lock, error) {
		return s.locks.Lock(ctx, s.object(path), func() { logf(ctx, "waiting for lock on '%s'", path) })
	})
	if errors.Is(err, syscall.EROFS) {
		err = cmp.Or(s.checkWritable(), err)
	}
	return l, err
}

// tryLockPath returns the lock of a path, or nil if another process holds it. The caller may hold other locks.
func (s *shared) tryLockPath(ctx context.Context, path storepath.Path) (*pathlock.Lock, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	if held := heldLock(ctx, s.object(path)); held != nil {
		return held.Lend(), nil
	}
	return inStoreDir(s, func() (*pathlock.Lock, error) { return s.locks.Try(s.object(path)) })
}

// errIsValid reports that the path of a new object is already valid.
var errIsValid = errors.New("the path is already valid")

// place gives an object its name. valid says whether the path is valid: place replaces the object of a valid path when
// the new one is complete. If the name exists although the path is invalid, an earlier process has left a part of the
// object, which place deletes. If the path turns out to be valid, place returns errIsValid.
func (s *Store) place(ctx context.Context, path storepath.Path, valid bool, create func(name string) error) (err error) {
	name := s.object(path)
	if valid {
		err = s.replace(ctx, name, create)
	} else if err = create(name); errors.Is(err, fs.ErrExist) {
		if err = s.removeRemains(ctx, path); err == nil {
			err = create(name)
		}
	}
	if err == nil {
		err = objects.ClearAttributes(name)
	}
	// A valid object may get a link to a file of this one, so the files must be on the disk before they are linked.
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

// placeWritten is [Store.place] for an object that this process has written from an archive with the hash in the info.
func (s *Store) placeWritten(ctx context.Context, info *store.PathInfo, valid bool, create func(name string) error) error {
	err := s.place(ctx, info.Path, valid, create)
	if err == nil && !s.opts.AutoOptimise { // another object's file, which can be damaged, may have replaced one of this object
		s.verified.addWritten(info, s.object(info.Path))
	}
	return err
}

// removeRemains deletes what an earlier process has left under the name of a path. It returns errIsValid if the path is
// valid.
func (s *Store) removeRemains(ctx context.Context, path storepath.Path) error {
	switch valid, err := s.IsValidPath(ctx, path); {
	case err != nil:
		return err
	case valid:
		return errIsValid
	}
	return objects.Remove(s.object(path))
}

// replace replaces the object of a valid path by a new one. With SyncObjects, the new object is on the disk before it
// gets the name, and the name is on the disk before the old object is deleted: a power cut leaves one of them complete.
func (s *Store) replace(ctx context.Context, name string, create func(name string) error) error {
	d, err := s.newTempDir(ctx)
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

// removeUnlessValid deletes an object that could not be registered, to free its space.
func (s *Store) removeUnlessValid(ctx context.Context, path storepath.Path) {
	valid, err := s.IsValidPath(context.WithoutCancel(ctx), path)
	if err == nil && !valid {
		objects.Remove(s.object(path))
	}
}
