package localstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"pix/localstore/internal/flock"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

var (
	_ store.Verifier       = (*Store)(nil)
	_ store.RepairVerifier = (*Store)(nil)
)

// VerifyStore checks that every valid path has an object, and reports whether errors remain. A path
// without an object is made invalid, unless what refers to it has one. With checkContents, all
// objects and the files in .links are read and their hashes compared; hashes and sizes that
// are not known are filled in. VerifyStore reports every error as a log line, in the words of Nix, and goes on.
// An object that cannot be read is an error that remains.
//
// With repair, wrong files in .links are deleted, and wrong objects taken from
// [Options.RepairFrom]. No garbage is collected meanwhile.
func (s *Store) VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error) {
	v := &verifier{Store: s, repair: repair, from: s.opts.RepairFrom}
	return v.verify(ctx, checkContents)
}

// VerifyStoreFrom is [Store.VerifyStore] with repair, which takes objects from that store.
func (s *Store) VerifyStoreFrom(ctx context.Context, checkContents bool, from store.Store) (errorsRemain bool, err error) {
	v := &verifier{Store: s, repair: true, from: from}
	return v.verify(ctx, checkContents)
}

// verify is the whole of it.
func (v *verifier) verify(ctx context.Context, checkContents bool) (errorsRemain bool, err error) {
	say(ctx, "reading the Nix store...")
	v.keepAll = v.opts.ReadOnly || v.checkWritable() != nil
	if !v.keepAll {
		if err := v.makeDirs(); err != nil {
			return false, err
		}
	}
	if !v.opts.ReadOnly {
		waiting := func() { say(ctx, "waiting for the big garbage collector lock...") }
		gcLock, err := temproots.KeepCollectorsOut(ctx, v.rootsState(), waiting)
		if err != nil {
			return false, err
		}
		defer gcLock.Close()
	}
	v.done = make(map[storepath.Path]bool)
	if err := v.existence(ctx); err != nil {
		return false, err
	}
	if checkContents {
		if err := v.linkHashes(ctx); err != nil {
			return false, err
		}
		if err := v.objectHashes(ctx); err != nil {
			return false, err
		}
	}
	return v.errorsRemain, nil
}

// A verifier is one call of VerifyStore.
type verifier struct {
	*Store
	repair       bool
	keepAll      bool        // no path is made invalid, because the store cannot be changed
	from         store.Store // nil if nothing can be taken from it
	errorsRemain bool

	there map[string]bool         // what lies in the store directory
	done  map[storepath.Path]bool // the paths whose existence was checked: whether they are valid
	valid []storepath.Path        // sorted
}

// existence checks that valid paths have objects.
func (v *verifier) existence(ctx context.Context) error {
	entries, err := os.ReadDir(v.storeDir)
	if err != nil {
		return err
	}
	v.there = make(map[string]bool, len(entries))
	for _, entry := range entries {
		v.there[entry.Name()] = true
	}
	say(ctx, "checking path existence...")
	paths, err := v.QueryAllValidPaths(ctx)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if err := v.exists(ctx, p); err != nil {
			return err
		}
		if v.done[p] {
			v.valid = append(v.valid, p)
		}
	}
	return nil
}

// exists checks that a path has an object. It checks the paths that refer to it first: if none of
// them has one either, the path can be made invalid.
func (v *verifier) exists(ctx context.Context, path storepath.Path) error {
	if _, done := v.done[path]; done {
		return nil
	}
	there, err := v.hasObject(ctx, path)
	v.done[path] = there
	if there || err != nil {
		return err
	}
	needed, err := v.isNeeded(ctx, path)
	if err != nil {
		return err
	}
	there, forgotten, err := v.forget(ctx, path, needed)
	if there || err != nil {
		v.done[path] = there
		return err
	}
	switch {
	case forgotten:
		say(ctx, "path '%s' disappeared, removing from database...", path)
		return nil
	case v.keepAll && !needed:
		say(ctx, "path '%s' disappeared", path)
	default:
		say(ctx, "path '%s' disappeared, but it still has valid referrers!", path)
	}
	v.repairOrCount(ctx, path)
	return nil
}

// isNeeded reports whether a path that has an object refers to path.
func (v *verifier) isNeeded(ctx context.Context, path storepath.Path) (needed bool, err error) {
	referrers, err := v.QueryReferrers(ctx, path)
	if err != nil {
		return false, err
	}
	for _, r := range referrers {
		if r != path {
			if err := v.exists(ctx, r); err != nil {
				return false, err
			}
			needed = needed || v.done[r]
		}
	}
	return needed, nil
}

// hasObject reports whether a path has an object. One that cannot be looked at may be there.
func (v *verifier) hasObject(ctx context.Context, path storepath.Path) (bool, error) {
	if v.there[path.Base()] {
		return true, nil
	}
	_, err := os.Lstat(v.object(path))
	if objects.IgnoreNotExist(err) != nil {
		v.report(ctx, err)
		return true, nil
	}
	return err == nil, ctx.Err()
}

// forget makes a path without an object invalid, unless it is needed by others, and reports whether it has. A
// process may have added the object after hasObject has looked for it, or may replace it just now. So forget looks
// for it again under the lock of the path, and holds the lock until the path is invalid: a process that adds the
// object afterwards finds the path invalid.
func (v *verifier) forget(ctx context.Context, path storepath.Path, needed bool) (there, forgotten bool, err error) {
	if v.keepAll {
		return false, false, nil
	}
	l, err := v.lockPath(ctx, path)
	if err != nil {
		return false, false, err
	}
	defer l.Release()
	if there, err = v.hasObject(ctx, path); there || err != nil || needed {
		return there, false, err
	}
	err = v.invalidatePath(ctx, path)
	if errors.As(err, new(*InUseError)) { // by a path that was added meanwhile
		return false, false, nil
	}
	return false, err == nil, err
}

// report reports an error that remains.
func (v *verifier) report(ctx context.Context, err error) {
	say(ctx, "error: %v", err)
	v.errorsRemain = true
}

// linkHashes checks the files in .links.
func (v *verifier) linkHashes(ctx context.Context) error {
	say(ctx, "checking link hashes...")
	var entries []os.DirEntry
	dir, err := objects.OpenLinks(v.storeDir)
	if err == nil {
		defer dir.Close()
		entries, err = dir.ReadDir(-1)
	}
	if objects.IgnoreNotExist(err) != nil {
		v.report(ctx, err)
	}
	return inOrder(entries,
		func(entry os.DirEntry) (nixhash.Hash, error) {
			h, _, err := nar.HashPath(ctx, filepath.Join(v.links(), entry.Name()), nixhash.SHA256, nil)
			return h, err
		},
		func(entry os.DirEntry, hash nixhash.Hash, err error) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch link := filepath.Join(v.links(), entry.Name()); {
			case objects.IgnoreNotExist(err) != nil:
				v.report(ctx, err)
			case err == nil && hash.Nix32() != entry.Name():
				v.badLink(ctx, link, hash)
			}
			return nil
		})
}

func (v *verifier) badLink(ctx context.Context, link string, hash nixhash.Hash) {
	say(ctx, "link '%s' was modified! expected hash %s, got '%s'", v.named(link), filepath.Base(link), hash.Nix32())
	if !v.repair {
		v.errorsRemain = true
		return
	}
	if err := objects.IgnoreNotExist(os.Remove(link)); err != nil {
		v.report(ctx, err)
		return
	}
	say(ctx, "removed link '%s'", v.named(link))
}

// A checked path is one whose object was read.
type checked struct {
	info *store.PathInfo
	hash nixhash.Hash
	size uint64
}

// objectHashes checks the objects of valid paths.
func (v *verifier) objectHashes(ctx context.Context) error {
	say(ctx, "checking store hashes...")
	return inOrder(v.valid,
		func(path storepath.Path) (checked, error) {
			c, err := v.read(ctx, path)
			if err != nil || !c.isRight() {
				c, err = v.readAlone(ctx, path, c, err)
			}
			return c, err
		},
		func(path storepath.Path, c checked, err error) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err == nil {
				err = v.compare(ctx, c)
			}
			if err != nil {
				v.report(ctx, err)
			}
			return nil
		})
}

// isRight reports whether an object is the one that was registered, as far as that is known.
func (c *checked) isRight() bool { return c.info.NARHash == noHash || c.info.NARHash == c.hash }

func (v *verifier) read(ctx context.Context, path storepath.Path) (c checked, err error) {
	if c.info, err = v.QueryPathInfo(ctx, path); err == nil {
		c.hash, c.size, err = nar.HashPath(ctx, v.object(path), nixhash.SHA256, nil)
	}
	return c, err
}

// readAlone reads an object again that seemed to be wrong, until it is right or nobody replaces it
// meanwhile. If somebody does all the time, what was seen last is believed.
func (v *verifier) readAlone(ctx context.Context, path storepath.Path, seen checked, err error) (checked, error) {
	if v.opts.ReadOnly {
		return seen, err
	}
	const patience, pause = 10 * time.Second, 5 * time.Millisecond
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		l, locking := v.tryLockPath(path)
		if locking != nil {
			return seen, err
		}
		seen, err = v.read(ctx, path)
		if l != nil {
			l.Release()
		}
		if l != nil || err == nil && seen.isRight() || flock.Sleep(ctx, pause) != nil {
			break
		}
	}
	return seen, err
}

// noHash is what very old databases have where a hash is not known.
var noHash = nixhash.SHA256Hash([32]byte{})

// compare compares an object with what is known of it.
func (v *verifier) compare(ctx context.Context, c checked) error {
	if !c.isRight() {
		say(ctx, "path '%s' was modified! expected hash '%s', got '%s'", c.info.Path, c.info.NARHash.WithNix32(), c.hash.WithNix32())
		v.repairOrCount(ctx, c.info.Path)
		return nil
	}
	known := c.info.NARHash != noHash && c.info.NARSize != 0
	if c.info.NARHash == noHash {
		say(ctx, "fixing missing hash on '%s'", c.info.Path)
	}
	if c.info.NARSize == 0 {
		say(ctx, "updating size field on '%s' to %d", c.info.Path, c.size)
	}
	if known || v.opts.ReadOnly {
		return nil
	}
	return v.write(ctx, func(db *conn) error {
		// Another process may have replaced the object, or deleted it, since it was read.
		now, err := db.pathInfo(v.dir, c.info.Path)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil || now.NARHash != c.info.NARHash || now.NARSize != c.info.NARSize {
			return err
		}
		return (*nixdb.Conn)(db).SetHash(c.info.Path, c.hash, c.size)
	})
}

// repairOrCount repairs a path, if that is wanted and possible, or counts an error that remains.
func (v *verifier) repairOrCount(ctx context.Context, path storepath.Path) {
	if !v.repair {
		v.errorsRemain = true
		return
	}
	if err := v.repairPath(ctx, v.from, path); err != nil {
		v.report(ctx, err)
	}
}

// errNoRepairs is why nothing can be repaired.
var errNoRepairs = errors.New("there is no store to take it from")
