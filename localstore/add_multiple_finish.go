package localstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"pix/internal/parallel"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

// Steps 3 and 4 for a batch: lock the paths, put the objects in place, and register them. See add_multiple.go for steps
// 1 and 2.

// finish waits until all objects are created, and adds the complete ones to the store.
func (b *batch) finish() error {
	err := b.restores.Wait()
	if err != nil {
		return b.finishEarly(err)
	}
	b.cancel()
	return b.lockAndAdd(b.completeItems())
}

// earlyLimit is how long finishEarly may take after the call has failed or was cancelled.
const earlyLimit = 5 * time.Second

// finishEarly adds the complete objects to the store although the call ends with an error, so that they need not be
// transferred again. It returns the error of the call: err, unless that is the consequence of an earlier error.
func (b *batch) finishEarly(err error) error {
	isFirst := b.ctx.Err() == nil
	b.cancel()
	if restoring := b.restores.Wait(); restoring != nil && !isFirst {
		err = restoring
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.parent), earlyLimit)
	defer cancel()
	b.parent = ctx
	unlocked := slices.DeleteFunc(b.completeItems(), func(item *batchItem) bool { // do not wait for other processes
		item.lock, _ = b.s.tryLockPath(ctx, item.info.Path)
		return item.lock == nil
	})
	b.placeAndRegister(unlocked) // cleanUp removes the objects that it cannot add
	return err
}

// completeItems returns the objects that are complete and do not refer to an object that has failed.
func (b *batch) completeItems() []*batchItem {
	var complete []*batchItem
	for _, item := range b.items {
		if !item.complete {
			continue
		}
		if err := b.checkReferences(item.info); err != nil {
			b.failures.Fail(item.info.Path, err)
			continue
		}
		complete = append(complete, item)
	}
	return complete
}

// lockAndAdd locks the paths of objects and adds the objects to the store.
//
// A process that waits for a lock must hold no other. If a lock is not free, because another process holds it or
// because this process has too many files open, lockAndAdd first adds the objects before it.
func (b *batch) lockAndAdd(items []*batchItem) error {
	first := 0
	for i, item := range items {
		var err error
		if item.lock, err = b.s.tryLockPath(b.parent, item.info.Path); err != nil {
			return err
		}
		if item.lock == nil {
			if err := b.placeAndRegister(items[first:i]); err != nil {
				return err
			}
			first = i
			if item.lock, err = b.s.lockPath(b.parent, item.info.Path); err != nil {
				return err
			}
		}
	}
	return b.placeAndRegister(items[first:])
}

// placeAndRegister puts objects in place, registers them, and releases the locks of their paths. Another process may
// have added some of them before the paths were locked. If an object fails, the others are still added.
func (b *batch) placeAndRegister(items []*batchItem) error {
	if len(items) == 0 {
		return nil
	}
	paths := make([]storepath.Path, len(items))
	for i, item := range items {
		paths[i] = item.info.Path
	}
	// The paths became roots when the objects arrived. The file of temporary roots may have been deleted since then.
	roots, err := b.s.addTempRoots(b.parent, paths...)
	if err != nil {
		return err
	}
	placed, err := b.place(items)
	if err != nil {
		return err
	}
	if len(placed) == 0 {
		err = roots.Check()
	} else {
		err = b.register(roots, placed)
	}
	if err != nil {
		return err
	}
	for _, item := range items {
		if item.placed && !item.registered {
			b.s.removeUnlessValid(b.parent, item.info.Path)
		}
	}
	releaseLocks(items)
	return nil
}

// place puts objects in place, and returns those for which it succeeded.
func (b *batch) place(items []*batchItem) (placed []*batchItem, err error) {
	group, ctx := parallel.WithContext(b.parent, workers())
	defer group.Join()
	for _, item := range items {
		valid := false // if it is valid after all, [Store.place] finds its object in the way
		if b.opts.Repair {
			if valid, err = b.s.IsValidPath(b.parent, item.info.Path); err != nil {
				return nil, errors.Join(err, group.Wait())
			}
		}
		item.placed = true
		group.Go(func() error {
			item.err = b.s.place(ctx, item.info.Path, valid, func(name string) error {
				return b.dir.moveTo(item.name, name)
			})
			return nil
		})
	}
	group.Wait()
	for _, item := range items {
		if lost := item.lock.Check(); lost != nil {
			item.placed = false // the object was removed together with the store
			item.err = errors.Join(lost, item.err)
		}
		switch {
		case item.err == nil:
			placed = append(placed, item)
		case item.err == errIsValid:
			item.placed = false
		case b.parent.Err() != nil:
			return nil, item.err
		default:
			if err := b.failures.Fail(item.info.Path, item.err); err != nil {
				return nil, err
			}
		}
	}
	return placed, nil
}

// register registers objects in one transaction or, if that fails, one by one.
func (b *batch) register(roots temproots.Held, placed []*batchItem) error {
	infos := make([]*store.PathInfo, len(placed))
	for i, item := range placed {
		infos[i] = item.info
	}
	if _, err := b.s.register(b.parent, roots, true, infos...); err == nil {
		for _, item := range placed {
			item.registered = true
		}
		return nil
	}
	for _, item := range placed {
		err := b.checkReferences(item.info)
		if err == nil {
			_, err = b.s.register(b.parent, roots, true, item.info)
		}
		if err == nil {
			item.registered = true
			continue
		}
		if b.parent.Err() != nil {
			return err
		}
		if err := b.failures.Fail(item.info.Path, err); err != nil {
			return err
		}
	}
	return nil
}

// releaseLocks releases the locks of objects. cleanUp does not remove the objects then.
func releaseLocks(items []*batchItem) {
	for _, item := range items {
		if item.lock != nil {
			item.lock.Release()
		}
		item.lock, item.placed = nil, false
	}
}

// cleanUp removes the objects that were not registered, the temporary directory and the locks. It also runs after a
// panic in a goroutine of the batch, and does not raise the panic again.
func (b *batch) cleanUp() {
	b.cancel()
	b.restores.Join()
	for _, item := range b.items {
		if item.placed {
			b.s.removeUnlessValid(b.parent, item.info.Path)
		}
	}
	releaseLocks(b.items)
	b.items = nil
	if b.dir != nil {
		b.dir.remove()
		b.dir = nil
	}
}
