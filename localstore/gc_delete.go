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
	"pix/internal/removetree"
	"pix/localstore/internal/objects"
	"pix/store"
	"pix/storepath"
)

// A batch of paths is made invalid in one transaction. A process that needs one of the paths waits until its object is
// deleted, so a batch is small, and several goroutines delete its objects.
const (
	deleteBatch   = 256
	deleteWorkers = 4
)

// errGCLimit stops a collection that has freed enough.
var errGCLimit = errors.New("enough space was freed")

// delete deletes victims, except those that become roots meanwhile. It adds those that cannot be deleted to failures.
func (c *collection) delete(ctx context.Context, victims []victim) error {
	ctx = forGoroutines(ctx)
	if c.opts.Action == store.GCDeleteDead {
		logf(ctx, "deleting garbage...")
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
		logf(ctx, "deleted more than %d bytes; stopping", c.opts.MaxFreed)
		return nil
	}
	return err
}

// A deleter deletes the victims of a collection.
type deleter struct {
	*collection
	dir     *os.File // the store directory
	victims []victim // not yet chosen

	mu    sync.Mutex
	freed uint64
}

// deleteOneByOne deletes one victim after the other, and stops as soon as MaxFreed is exceeded.
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

// deleteInBatches makes a batch invalid while other goroutines delete the batch before it.
func (d *deleter) deleteInBatches(ctx context.Context) error {
	group, ctx := parallel.WithContext(ctx, 0)
	queue := make(chan victim, deleteBatch)
	for range min(deleteWorkers, 1+descriptors.Limit()/256) { // each opens up to removetree.MaxOpenDirs directories
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
			batch, err := d.next(ctx, deleteBatch)
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

// reportDeleted reports victims to the handler of the caller. When a batch is deleted, other goroutines delete it, so a
// slow handler does not delay the deletion, or the processes that wait for it.
func (d *deleter) reportDeleted(ctx context.Context, batch []victim) {
	for _, v := range batch {
		logf(ctx, "deleting '%s'", d.name(v))
	}
}

// next makes up to n victims invalid and returns them, or nil if none are left. A process that makes one of them a root
// waits until [temproots.Collector.Done] is called for it.
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

// choose removes up to n victims from the list, and returns those that are still dead.
func (d *deleter) choose(n int) (batch []victim) {
	d.tempRoots.Choose(func(arrived []string) (hashParts []string) {
		for _, hashPart := range arrived {
			d.temp[hashPart] = true
			for _, i := range d.graph.withHash(hashPart) {
				if d.states[i] != deleted {
					d.graph.markFrom(d.marks, i)
				}
			}
		}
		for len(d.victims) > 0 && len(batch) < n {
			v := d.victims[0]
			d.victims = d.victims[1:]
			switch {
			case v.node >= 0 && d.marks[v.node] == notMarked:
				d.states[v.node] = deleted
				hashParts = append(hashParts, d.graph.paths[v.node].HashPart())
			case v.node < 0 && v.file.path == "":
			case v.node < 0 && !d.temp[v.file.path.HashPart()]:
				hashParts = append(hashParts, v.file.path.HashPart())
			default:
				continue
			}
			batch = append(batch, v)
		}
		return hashParts
	})
	return batch
}

// invalidate makes a batch invalid, and returns the victims that may be deleted. After a power cut no path may be valid
// whose object was deleted, so invalidate returns after the transaction is on the disk.
func (d *deleter) invalidate(ctx context.Context, batch []victim) ([]victim, error) {
	var spared []victim
	err := d.writeDurably(ctx, func(c *conn) error {
		spared = nil
		for _, v := range batch {
			if v.node >= 0 {
				// If the store was deleted and created again, another path may have this id.
				if err := c.exec("delete from ValidPaths where id = ? and path = ?", d.graph.ids[v.node], string(d.graph.paths[v.node])); err != nil {
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
		// A path that was registered since the graph was read may refer to one of the batch.
		spared, err = d.invalidateSingly(ctx, batch)
	}
	if err != nil {
		return nil, err
	}
	return d.removeSpared(ctx, batch, spared), nil
}

// isValid reports whether a victim is valid. That means that another process has registered it since the graph was
// read, without making it a root first.
func (d *deleter) isValid(c *conn, v victim) (bool, error) {
	var path storepath.Path
	if v.node < 0 {
		path = v.file.path
	} else {
		path = d.graph.paths[v.node]
	}
	if path == "" {
		return false, nil
	}
	_, valid, err := c.pathID(path)
	return valid, err
}

// invalidateSingly makes the victims of a batch invalid one by one, and returns those for which that is not possible.
func (d *deleter) invalidateSingly(ctx context.Context, batch []victim) (spared []victim, err error) {
	for _, v := range batch {
		valid := false
		err := d.writeDurably(ctx, func(c *conn) (err error) {
			if v.node >= 0 {
				if err := c.invalidate(d.Store.dir, d.graph.paths[v.node]); err != nil {
					return err
				}
			}
			valid, err = d.isValid(c, v)
			return err
		})
		var inUse *InUseError
		if errors.As(err, &inUse) {
			logf(ctx, "%v", inUse)
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

// removeSpared returns the batch without the spared victims, and marks the paths that they need as live.
func (d *deleter) removeSpared(ctx context.Context, batch, spared []victim) []victim {
	if len(spared) == 0 {
		return batch
	}
	isSpared := make(map[victim]bool, len(spared))
	for _, v := range spared {
		isSpared[v] = true
		if v.node >= 0 {
			d.graph.markFrom(d.marks, v.node)
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

// hashPart returns the hash part of a victim, or "" if it has no name of a store path.
func (c *collection) hashPart(v victim) string {
	switch {
	case v.node >= 0:
		return c.graph.paths[v.node].HashPart()
	case v.file.path != "":
		return v.file.path.HashPart()
	}
	return ""
}

// remove deletes a victim from the disk. It reports a failure after it has released the processes that wait for the
// path, so that a slow handler does not delay them.
func (d *deleter) remove(ctx context.Context, v victim) {
	freed, deleted, err := d.removeTree(d.base(v), v.node < 0 && v.file.path == "")
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

// failure returns an error with the name of the file that could not be deleted.
func (d *deleter) failure(v victim, err error) error {
	name := d.name(v)
	if file, ok := errors.AsType[*os.PathError](err); ok {
		name, err = filepath.Join(string(d.Store.dir), file.Path), file.Err
	}
	return fmt.Errorf("cannot delete '%s': %w", name, err)
}

// removeTree deletes a file or a tree in the store directory. foreign says that it has no name of a store path. A
// foreign directory that is a temporary directory of another process stays.
func (d *deleter) removeTree(base string, foreign bool) (freed uint64, deleted bool, err error) {
	if foreign && strings.HasPrefix(base, "tmp-") {
		locked, unlock, err := objects.TryLockDir(d.dir, base)
		if err != nil || !locked {
			return 0, false, err
		}
		defer unlock()
	}
	freed, err = removetree.Remove(d.dir, base)
	return freed, err == nil, err
}
