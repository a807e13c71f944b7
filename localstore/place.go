package localstore

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"pix/store"
	"pix/storepath"
)

// add makes an object, under a lock, and makes its path valid. make is given where it is to make
// the object, and the name; if it fails it leaves nothing, and if something is there already the
// error is [fs.ErrExist] and nothing else was done. If the path is valid already, nothing
// is done, unless the object is to be replaced. It reports whether what is known of the path is now
// exactly the info, since it was not valid.
func (s *Store) add(ctx context.Context, info *store.PathInfo, replace bool, make func(root *os.Root, name string) error) (added bool, err error) {
	if err := s.checkInfo(info); err != nil {
		return false, err
	}
	before := s.moment()
	if wanted, err := s.isWanted(ctx, info.Path, replace); err != nil || !wanted {
		return false, err
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
	defer l.release()
	valid := false
	if replace || !before.isNow() { // else it is not valid, as it was not then
		if valid, err = s.IsValidPath(ctx, info.Path); err != nil || valid && !replace {
			return false, err
		}
	}
	err = s.put(ctx, info.Path, valid, make)
	if lost := l.mustHold(); lost != nil {
		return false, errors.Join(lost, err)
	}
	if err == nil {
		err = s.registerValidPaths(ctx, info)
	}
	if err != nil {
		s.removeUnlessValid(ctx, info.Path)
	}
	return !valid && err == nil, err
}

// isWanted makes a temporary root of a path, and reports whether its object has to be made.
func (s *Store) isWanted(ctx context.Context, path storepath.Path, replace bool) (bool, error) {
	if err := s.addTempRoots(ctx, path); err != nil {
		return false, err
	}
	valid, err := s.IsValidPath(ctx, path)
	return err == nil && (!valid || replace), err
}

// put makes an object under its name. What is there is the rest of an attempt and removed; if
// it is valid, it stays until the new one is complete.
func (s *Store) put(ctx context.Context, path storepath.Path, valid bool, make func(root *os.Root, name string) error) error {
	root, err := os.OpenRoot(s.storeDir)
	if err != nil {
		return err
	}
	defer root.Close()
	if valid {
		err = s.replace(ctx, root, path.Base(), make)
	} else if err = make(root, path.Base()); errors.Is(err, fs.ErrExist) {
		if err = removeObject(root, path.Base()); err == nil {
			err = make(root, path.Base())
		}
	}
	if err == nil {
		err = clearAttributes(s.object(path))
	}
	if err == nil {
		err = s.autoOptimise(ctx, path, valid)
	}
	if err == nil && s.opts.SyncObjects {
		err = syncObject(s.object(path))
	}
	return err
}

// replace makes an object in the place of another one.
func (s *Store) replace(ctx context.Context, root *os.Root, name string, make func(root *os.Root, name string) error) error {
	d, err := s.makeTempDir(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	if err := make(d.root, tempObject); err != nil {
		return err
	}
	return d.exchange(tempObject, root, name)
}

// removeUnlessValid removes an object that could not be registered. It would do no harm, but
// take space.
func (s *Store) removeUnlessValid(ctx context.Context, path storepath.Path) {
	valid, err := s.IsValidPath(context.WithoutCancel(ctx), path)
	if err != nil || valid {
		return
	}
	if root, err := os.OpenRoot(s.storeDir); err == nil {
		removeObject(root, path.Base())
		root.Close()
	}
}
