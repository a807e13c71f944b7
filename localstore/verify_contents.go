package localstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"pix/internal/flock"
	"pix/internal/parallel"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// checkLinks compares the hashes of the files in .links with their names.
func (v *verifier) checkLinks(ctx context.Context) error {
	logf(ctx, "checking link hashes...")
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
				v.damagedLink(ctx, link, hash)
			}
			return nil
		})
}

func (v *verifier) damagedLink(ctx context.Context, link string, hash nixhash.Hash) {
	logf(ctx, "link '%s' was modified! expected hash %s, got '%s'", v.displayName(link), filepath.Base(link), hash.Nix32())
	if !v.repair {
		v.errorsRemain = true
		return
	}
	if err := objects.IgnoreNotExist(os.Remove(link)); err != nil {
		v.report(ctx, err)
		return
	}
	logf(ctx, "removed link '%s'", v.displayName(link))
}

// A hashedObject is an object that was read, with the registered info.
type hashedObject struct {
	info *store.PathInfo
	hash nixhash.Hash
	size uint64
}

// checkObjects compares the hashes of objects with the registered ones.
func (v *verifier) checkObjects(ctx context.Context) error {
	logf(ctx, "checking store hashes...")
	return inOrder(v.valid,
		func(path storepath.Path) (hashedObject, error) {
			c, err := v.readObject(ctx, path)
			if err != nil || !c.isGood() {
				c, err = v.readAgain(ctx, path, c, err)
			}
			return c, err
		},
		func(path storepath.Path, c hashedObject, err error) error {
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

// isGood reports whether an object has the registered hash, or no hash is registered.
func (c *hashedObject) isGood() bool { return c.info.NARHash == noHash || c.info.NARHash == c.hash }

func (v *verifier) readObject(ctx context.Context, path storepath.Path) (c hashedObject, err error) {
	if c.info, err = v.QueryPathInfo(ctx, path); err == nil {
		c.hash, c.size, err = nar.HashPath(ctx, v.object(path), nixhash.SHA256, nil)
	}
	return c, err
}

// readAgain reads an object that seems to be damaged again, until it is good or no other process holds the lock of its
// path: a process that replaces the object holds this lock. If one holds it until the timeout, readAgain returns the
// result of the last attempt.
func (v *verifier) readAgain(ctx context.Context, path storepath.Path, last hashedObject, err error) (hashedObject, error) {
	if v.opts.ReadOnly {
		return last, err
	}
	const timeout, pause = 10 * time.Second, 5 * time.Millisecond
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		l, locking := v.tryLockPath(ctx, path)
		if locking != nil {
			return last, err
		}
		last, err = v.readObject(ctx, path)
		if l != nil {
			l.Release()
		}
		if l != nil || err == nil && last.isGood() || flock.Sleep(ctx, pause) != nil {
			break
		}
	}
	return last, err
}

// noHash stands for a missing hash in databases of very old versions of Nix.
var noHash = nixhash.SHA256Hash([32]byte{})

// compare compares an object with the registered info. It registers a missing hash or size.
func (v *verifier) compare(ctx context.Context, c hashedObject) error {
	if !c.isGood() {
		logf(ctx, "path '%s' was modified! expected hash '%s', got '%s'", c.info.Path, c.info.NARHash.WithNix32(), c.hash.WithNix32())
		v.repairOrFail(ctx, c.info.Path)
		return nil
	}
	complete := c.info.NARHash != noHash && c.info.NARSize != 0
	if c.info.NARHash == noHash {
		logf(ctx, "fixing missing hash on '%s'", c.info.Path)
	}
	if c.info.NARSize == 0 {
		logf(ctx, "updating size field on '%s' to %d", c.info.Path, c.size)
	}
	if complete || v.opts.ReadOnly {
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

// repairOrFail repairs a path with the option repair. Otherwise it records that errors remain.
func (v *verifier) repairOrFail(ctx context.Context, path storepath.Path) {
	if !v.repair {
		v.errorsRemain = true
		return
	}
	if err := v.repairPath(ctx, v.from, path); err != nil {
		v.report(ctx, err)
	}
}

var errNoRepairs = errors.New("no store to repair from is configured")

// inOrder calls work for each item on several goroutines. It calls use with each result on the goroutine of the caller,
// in the order of the items. It returns the first error of use. A panic in work continues in inOrder. When inOrder
// returns, no goroutine runs work.
func inOrder[T, R any](items []T, work func(T) (R, error), use func(T, R, error) error) error {
	type result struct {
		r   R
		err error
	}
	workers := runtime.GOMAXPROCS(0)
	started := make(chan chan result, workers)
	running := make(chan struct{}, workers)
	var guard parallel.Guard
	var all sync.WaitGroup
	defer all.Wait()
	stop := make(chan struct{})
	defer close(stop)
	all.Go(func() {
		for _, item := range items {
			select {
			case running <- struct{}{}:
			case <-stop:
				return
			}
			done := make(chan result, 1)
			all.Go(func() {
				var res result
				defer func() { done <- res; <-running }() // runs after runtime.Goexit too
				guard.Call(func() error {
					res.r, res.err = work(item)
					return nil
				})
			})
			select {
			case started <- done:
			case <-stop:
				return
			}
		}
	})
	for _, item := range items {
		res := <-<-started
		guard.Repanic() // use must not get the result of a work that has panicked
		if err := use(item, res.r, res.err); err != nil {
			return err
		}
	}
	return nil
}

// repairPath replaces the object of a valid path by the object in another store. If the archives have different hashes,
// a trusted key must have signed the other info, unless the path follows from the contents.
func (s *Store) repairPath(ctx context.Context, other store.Store, path storepath.Path) error {
	err := s.copyFrom(ctx, other, path)
	if err != nil {
		return fmt.Errorf("cannot repair path '%s': %w", path, err)
	}
	return nil
}

func (s *Store) copyFrom(ctx context.Context, other store.Store, path storepath.Path) error {
	if other == nil {
		return errNoRepairs
	}
	ours, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return err
	}
	theirs, err := other.QueryPathInfo(ctx, path)
	if err != nil {
		return err
	}
	archive, err := store.ReadNAR(ctx, other, path)
	if err != nil {
		return err
	}
	same := theirs.NARHash == ours.NARHash
	if same {
		ours.NARSize = theirs.NARSize // databases of very old versions of Nix do not contain the size
		theirs = ours
	}
	err = s.AddToStoreNAR(ctx, theirs, archive, &store.AddOptions{Repair: true, NoSignatures: same})
	return errors.Join(err, archive.Close())
}
