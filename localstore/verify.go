package localstore

import (
	"context"
	"errors"
	"os"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var (
	_ store.Verifier       = (*Store)(nil)
	_ store.RepairVerifier = (*Store)(nil)
)

// VerifyStore checks that every valid path has an object, and reports whether errors remain. It makes a path without an
// object invalid, unless a path that refers to it has an object. With checkContents, it also compares the hashes of all
// objects and of the files in .links, and registers hashes and sizes that are missing in the database. It reports each
// error as a log line in the words of Nix, and continues. An object that cannot be read is an error that remains.
//
// With repair, VerifyStore deletes damaged files in .links, and replaces damaged objects by copies from
// [Options.RepairFrom]. No process can collect garbage during the call.
func (s *Store) VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error) {
	v := &verifier{Store: s, repair: repair, from: s.opts.RepairFrom}
	return v.verify(ctx, checkContents)
}

// VerifyStoreFrom is [Store.VerifyStore] with repair from the given store.
func (s *Store) VerifyStoreFrom(ctx context.Context, checkContents bool, from store.Store) (errorsRemain bool, err error) {
	v := &verifier{Store: s, repair: true, from: from}
	return v.verify(ctx, checkContents)
}

func (v *verifier) verify(ctx context.Context, checkContents bool) (errorsRemain bool, err error) {
	logf(ctx, "reading the Nix store...")
	v.keepAll = v.opts.ReadOnly || v.checkWritable() != nil
	if !v.keepAll {
		if err := v.createDirs(); err != nil {
			return false, err
		}
	}
	if !v.opts.ReadOnly {
		waiting := func() { logf(ctx, "waiting for the big garbage collector lock...") }
		gcLock, err := temproots.KeepCollectorsOut(ctx, v.rootsState(), waiting)
		if err != nil {
			return false, err
		}
		defer gcLock.Close()
	}
	v.exists = make(map[storepath.Path]bool)
	if err := v.checkExistence(ctx); err != nil {
		return false, err
	}
	if checkContents {
		if err := v.checkLinks(ctx); err != nil {
			return false, err
		}
		if err := v.checkObjects(ctx); err != nil {
			return false, err
		}
	}
	return v.errorsRemain, nil
}

// A verifier is one call of VerifyStore.
type verifier struct {
	*Store
	repair       bool
	keepAll      bool        // make no path invalid, because the store cannot be changed
	from         store.Store // the source for repairs, or nil
	errorsRemain bool

	names  map[string]bool         // in the store directory
	exists map[storepath.Path]bool // for each path that was checked: whether it has an object
	valid  []storepath.Path        // with objects, sorted
}

// checkExistence checks that all valid paths have objects.
func (v *verifier) checkExistence(ctx context.Context) error {
	entries, err := os.ReadDir(v.storeDir)
	if err != nil {
		return err
	}
	v.names = make(map[string]bool, len(entries))
	for _, entry := range entries {
		v.names[entry.Name()] = true
	}
	logf(ctx, "checking path existence...")
	paths, err := v.QueryAllValidPaths(ctx)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if err := v.checkPath(ctx, p); err != nil {
			return err
		}
		if v.exists[p] {
			v.valid = append(v.valid, p)
		}
	}
	return nil
}

// checkPath checks that a path has an object. If it has none, checkPath first checks the paths that refer to it. If none
// of them has an object either, it makes the path invalid.
func (v *verifier) checkPath(ctx context.Context, path storepath.Path) error {
	if _, checked := v.exists[path]; checked {
		return nil
	}
	exists, err := v.hasObject(ctx, path)
	v.exists[path] = exists
	if exists || err != nil {
		return err
	}
	needed, err := v.isNeeded(ctx, path)
	if err != nil {
		return err
	}
	exists, invalidated, err := v.invalidateMissing(ctx, path, needed)
	if exists || err != nil {
		v.exists[path] = exists
		return err
	}
	switch {
	case invalidated:
		logf(ctx, "path '%s' disappeared, removing from database...", path)
		return nil
	case v.keepAll && !needed:
		logf(ctx, "path '%s' disappeared", path)
	default:
		logf(ctx, "path '%s' disappeared, but it still has valid referrers!", path)
	}
	v.repairOrFail(ctx, path)
	return nil
}

// isNeeded reports whether a path with an object refers to this path.
func (v *verifier) isNeeded(ctx context.Context, path storepath.Path) (needed bool, err error) {
	referrers, err := v.QueryReferrers(ctx, path)
	if err != nil {
		return false, err
	}
	for _, r := range referrers {
		if r != path {
			if err := v.checkPath(ctx, r); err != nil {
				return false, err
			}
			needed = needed || v.exists[r]
		}
	}
	return needed, nil
}

// hasObject reports whether a path has an object. If it cannot find out, it reports the error and returns true.
func (v *verifier) hasObject(ctx context.Context, path storepath.Path) (bool, error) {
	if v.names[path.Base()] {
		return true, nil
	}
	_, err := os.Lstat(v.object(path))
	if objects.IgnoreNotExist(err) != nil {
		v.report(ctx, err)
		return true, nil
	}
	return err == nil, ctx.Err()
}

// invalidateMissing makes a path without an object invalid, unless it is needed. Another process may have added the
// object after hasObject was called, or may be replacing it. So invalidateMissing checks again under the lock of the
// path, and holds the lock until the path is invalid: a process that adds the object later finds the path invalid.
func (v *verifier) invalidateMissing(ctx context.Context, path storepath.Path, needed bool) (exists, invalidated bool, err error) {
	if v.keepAll {
		return false, false, nil
	}
	l, err := v.lockPath(ctx, path)
	if err != nil {
		return false, false, err
	}
	defer l.Release()
	if exists, err = v.hasObject(ctx, path); exists || err != nil || needed {
		return exists, false, err
	}
	err = v.invalidatePath(ctx, path)
	if errors.As(err, new(*InUseError)) { // a path that was added meanwhile refers to it
		return false, false, nil
	}
	return false, err == nil, err
}

// report reports an error, and records that errors remain.
func (v *verifier) report(ctx context.Context, err error) {
	logf(ctx, "error: %v", err)
	v.errorsRemain = true
}
