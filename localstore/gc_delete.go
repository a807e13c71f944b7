package localstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pix/internal/descriptors"
	"pix/internal/parallel"
	"pix/localstore/internal/objects"
	"pix/store"
)

// How much is deleted at once. A batch is made invalid in one transaction. A process that needs a path of the
// batch waits until its object is deleted, so a batch is small, and several goroutines delete it.
const (
	deletedAtOnce = 256
	deleters      = 4
)

// errGCLimit ends a collection that has freed enough.
var errGCLimit = errors.New("deleted enough")

// delete deletes victims, except those that become roots meanwhile. It counts those that cannot be
// deleted as failures.
func (c *collection) delete(ctx context.Context, victims []victim) error {
	ctx = forGoroutines(ctx)
	if c.opts.Action == store.GCDeleteDead {
		say(ctx, "deleting garbage...")
	}
	dir, err := os.Open(c.storeDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	d := &deleter{collection: c, dir: dir, victims: victims}
	if c.opts.MaxFreed < math.MaxUint64 {
		err = d.deleteOneByOne(ctx)
	} else {
		err = d.deleteInBatches(ctx)
	}
	c.result.BytesFreed = d.freed
	if errors.Is(err, errGCLimit) {
		say(ctx, "deleted more than %d bytes; stopping", c.opts.MaxFreed)
		return nil
	}
	return err
}

// A deleter deletes the victims of a collection.
type deleter struct {
	*collection
	dir     *os.File // the store directory
	victims []victim // those that are left

	mu    sync.Mutex
	freed uint64
}

// deleteOneByOne stops as soon as enough is freed.
func (d *deleter) deleteOneByOne(ctx context.Context) error {
	for {
		batch, err := d.next(ctx, 1)
		if err != nil || batch == nil {
			return err
		}
		for _, v := range batch {
			d.remove(ctx, v)
		}
		d.reportDeleted(ctx, batch)
		if d.freed > d.opts.MaxFreed {
			return errGCLimit
		}
	}
}

// deleteInBatches makes one batch invalid while others are deleted.
func (d *deleter) deleteInBatches(ctx context.Context) error {
	group, ctx := parallel.WithContext(ctx, 0)
	queue := make(chan victim, deletedAtOnce)
	for range min(deleters, 1+descriptors.Limit()/256) { // each opens up to objects.MaxOpenDirs directories
		group.Go(func() error {
			for v := range queue {
				d.remove(ctx, v)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(queue)
		for {
			batch, err := d.next(ctx, deletedAtOnce)
			if err != nil || batch == nil {
				return err
			}
			for _, v := range batch {
				select {
				case queue <- v:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			d.reportDeleted(ctx, batch)
		}
	})
	return group.Wait()
}

// reportDeleted reports victims to the caller. In batches other goroutines delete them, so a slow caller does
// not delay deletion, or the processes that wait for it.
func (d *deleter) reportDeleted(ctx context.Context, batch []victim) {
	for _, v := range batch {
		say(ctx, "deleting '%s'", d.name(v))
	}
}

// next returns the next victims, at most n, which are invalid now: nil when none are left.
// Until they are deleted, or will not be, roots have to wait for them.
func (d *deleter) next(ctx context.Context, n int) ([]victim, error) {
	for len(d.victims) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := d.tempRoots.Check(); err != nil {
			return nil, err
		}
		chosen := d.choose(n)
		if len(chosen) == 0 {
			break
		}
		batch, err := d.invalidate(ctx, chosen)
		if err != nil {
			return nil, err
		}
		if len(batch) > 0 {
			return batch, nil
		}
	}
	return nil, nil
}

// choose takes the next victims that are still dead.
func (d *deleter) choose(n int) (batch []victim) {
	d.tempRoots.Choose(func(arrived []string) (hashParts []string) {
		for _, hashPart := range arrived {
			d.temp[hashPart] = true
			for _, i := range d.graph.withHash(hashPart) {
				if d.fates[i] != deleted {
					d.graph.markFrom(d.marks, i)
				}
			}
		}
		for len(d.victims) > 0 && len(batch) < n {
			v := d.victims[0]
			d.victims = d.victims[1:]
			switch {
			case v.place >= 0 && d.marks[v.place] == notMarked:
				d.fates[v.place] = deleted
				hashParts = append(hashParts, d.graph.paths[v.place].HashPart())
			case v.place < 0 && v.path == "":
			case v.place < 0 && !d.temp[v.path.HashPart()]:
				hashParts = append(hashParts, v.path.HashPart())
			default:
				continue
			}
			batch = append(batch, v)
		}
		return hashParts
	})
	return batch
}

// invalidate makes a batch invalid, and returns what of it may be deleted. After a power cut a path must not
// be valid whose object was deleted, so the database is on the disk before.
func (d *deleter) invalidate(ctx context.Context, batch []victim) ([]victim, error) {
	var spared []victim
	err := d.writeDurably(ctx, func(c *conn) error {
		spared = nil
		for _, v := range batch {
			if v.place >= 0 {
				// If the store was removed and made again, another path has that number.
				if err := c.exec("delete from ValidPaths where id = ? and path = ?", d.graph.ids[v.place], string(d.graph.paths[v.place])); err != nil {
					return err
				}
				if c.changes() == 1 {
					continue
				}
			}
			if valid, err := d.isValid(c, v); err != nil {
				return err
			} else if valid {
				spared = append(spared, v)
			}
		}
		return nil
	})
	if errors.As(err, new(*DatabaseError)) && ctx.Err() == nil {
		// Perhaps something refers to one of them that did not when we looked.
		spared, err = d.invalidateSingly(ctx, batch)
	}
	if err != nil {
		return nil, err
	}
	return d.without(ctx, batch, spared), nil
}

// isValid reports whether something is valid though it should not be: somebody has registered it
// after we looked, and has not told us.
func (d *deleter) isValid(c *conn, v victim) (bool, error) {
	path := v.path
	if v.place >= 0 {
		path = d.graph.paths[v.place]
	}
	if path == "" {
		return false, nil
	}
	_, valid, err := c.pathID(path)
	return valid, err
}

// invalidateSingly makes each of a batch invalid that can be, and returns the others.
func (d *deleter) invalidateSingly(ctx context.Context, batch []victim) (spared []victim, err error) {
	for _, v := range batch {
		valid := false
		err := d.writeDurably(ctx, func(c *conn) (err error) {
			if v.place >= 0 {
				if err := c.invalidate(d.Store.dir, d.graph.paths[v.place]); err != nil {
					return err
				}
			}
			valid, err = d.isValid(c, v)
			return err
		})
		var inUse *InUseError
		if errors.As(err, &inUse) {
			say(ctx, "%v", inUse)
			valid = true
		} else if err != nil {
			return nil, err
		}
		if valid {
			spared = append(spared, v)
		}
	}
	return spared, nil
}

// without takes what is spared out of a batch. What that needs is live now.
func (d *deleter) without(ctx context.Context, batch, spared []victim) []victim {
	if len(spared) == 0 {
		return batch
	}
	isSpared := make(map[victim]bool, len(spared))
	for _, v := range spared {
		isSpared[v] = true
		if v.place >= 0 {
			d.graph.markFrom(d.marks, v.place)
		}
		d.tempRoots.Done(d.hashPart(v))
	}
	var left []victim
	for _, v := range batch {
		if !isSpared[v] {
			left = append(left, v)
		}
	}
	return left
}

// hashPart returns the hash part of a victim, or "".
func (c *collection) hashPart(v victim) string {
	switch {
	case v.place >= 0:
		return c.graph.paths[v.place].HashPart()
	case v.path != "":
		return v.path.HashPart()
	}
	return ""
}

// remove deletes a victim from the disk. A failure is reported when the processes that wait for the path
// can go on: a slow handler does not delay them.
func (d *deleter) remove(ctx context.Context, v victim) {
	freed, deleted, err := d.removeTree(d.base(v), v.place < 0 && v.path == "")
	d.tempRoots.Done(d.hashPart(v))
	d.mu.Lock()
	d.freed += freed
	if deleted {
		d.result.Paths = append(d.result.Paths, d.name(v))
	}
	d.mu.Unlock()
	if err != nil {
		d.failures.add(ctx, d.failure(v, err))
	}
}

// failure returns an error that names the file that could not be deleted, of an object or beside them.
func (d *deleter) failure(v victim, err error) error {
	name := d.name(v)
	if file, ok := errors.AsType[*os.PathError](err); ok {
		name, err = filepath.Join(string(d.Store.dir), file.Path), file.Err
	}
	return fmt.Errorf("cannot delete '%s': %w", name, err)
}

// removeTree deletes what has that name in the store directory. A foreign file has no name of a store path; if it
// is a temporary directory that another process uses, it stays.
func (d *deleter) removeTree(base string, foreign bool) (freed uint64, deleted bool, err error) {
	if foreign && strings.HasPrefix(base, "tmp-") {
		free, unlock, err := objects.TryLockDir(d.dir, base)
		if err != nil || !free {
			return 0, false, err
		}
		defer unlock()
	}
	freed, err = objects.RemoveIn(d.dir, base)
	return freed, err == nil, err
}
