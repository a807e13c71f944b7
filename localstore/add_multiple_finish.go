package localstore

import (
	"cmp"
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

// earlyLimit is how long a batch may still be placed and registered after the call has failed or was cancelled.
const earlyLimit = 5 * time.Second

// withGrace returns a context that is done some time after ctx, or when it is cancelled.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-late.Done():
		}
	})
	return late, func() {
		stop()
		cancel(nil)
	}
}

// finishEarly adds the complete objects to the store although the call ends with an error, so that they need not be
// transferred again. It returns the error of the call: err, unless that is the consequence of an earlier error. isFirst
// reports that it is not.
func (b *batch) finishEarly(err error, isFirst bool) error {
	b.cancel()
	if restoring := b.restores.Wait(); restoring != nil && !isFirst {
		err = restoring
	}
	limit := time.AfterFunc(earlyLimit, b.stopLate)
	defer limit.Stop()
	b.addUnlocked(b.completeItems())
	return err
}

// addUnlocked adds objects to the store, except those whose paths other processes have locked. The error of the call is
// known already, and cleanUp removes the objects that could not be added.
func (b *batch) addUnlocked(items []*batchItem) {
	items, err := b.secureFiles(items)
	if err != nil {
		return
	}
	b.placeAndRegister(slices.DeleteFunc(items, func(item *batchItem) bool {
		item.lock, _ = b.s.tryLockPath(b.late, item.info.Path)
		return item.lock == nil
	}))
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
// because this process has too many files open, lockAndAdd first adds the objects before it. If the call is cancelled
// while it waits, it adds the objects that other processes have not locked.
func (b *batch) lockAndAdd(items []*batchItem) error {
	items, err := b.secureFiles(items)
	if err != nil {
		return err
	}
	first := 0
	for i, item := range items {
		if item.lock, err = b.s.tryLockPath(b.late, item.info.Path); err != nil {
			return err
		}
		if item.lock == nil {
			if err := b.placeAndRegister(items[first:i]); err != nil {
				return err
			}
			first = i
			if item.lock, err = b.s.lockPath(b.parent, item.info.Path); err != nil {
				if b.parent.Err() != nil {
					b.addUnlocked(items[i:])
				}
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
	roots, err := b.s.addTempRoots(b.late, paths...)
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
			b.s.removeUnlessValid(b.late, item.info.Path)
		}
	}
	releaseLocks(items)
	return b.failed
}

// place puts objects in place, and returns those for which it succeeded.
//
// Names in one directory are created one after the other, so several goroutines would only wait for each other. They
// help if each object is synced or linked, too.
func (b *batch) place(items []*batchItem) (placed []*batchItem, err error) {
	limit := 1
	if b.s.opts.SyncObjects || b.s.opts.AutoOptimise {
		limit = workers()
	}
	group, ctx := parallel.WithContext(b.late, limit)
	defer group.Join()
	for _, item := range items {
		valid := false // if it is valid after all, [Store.place] finds its object in the way
		if b.opts.Repair {
			if valid, err = b.s.IsValidPath(b.late, item.info.Path); err != nil {
				return nil, errors.Join(err, group.Wait())
			}
		}
		item.placed = true
		place := func() error {
			item.err = b.s.placeWritten(ctx, item.info, valid, func(name string) error {
				return b.giveName(item, name)
			})
			return nil
		}
		if limit == 1 {
			place()
		} else {
			group.Go(place)
		}
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
		case b.late.Err() != nil:
			return nil, item.err
		case item.inMemory && item.lock.Check() == nil: // a full disk, for example, which concerns all objects
			b.failed = cmp.Or(b.failed, item.err)
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
	texts := make(map[storepath.Path]string)
	for i, item := range placed {
		infos[i] = item.info
		if item.inMemory && item.info.Path.IsDerivation() {
			texts[item.info.Path] = string(item.contents)
		}
	}
	if _, err := b.s.registerWith(b.late, roots, true, texts, infos...); err == nil {
		for _, item := range placed {
			item.registered = true
		}
		return nil
	}
	for _, item := range referencesFirst(placed) {
		err := b.checkReferences(item.info)
		if err == nil {
			_, err = b.s.registerWith(b.late, roots, true, texts, item.info)
		}
		if err == nil {
			item.registered = true
			continue
		}
		if b.late.Err() != nil || errors.As(err, new(*DatabaseError)) { // a full disk concerns all objects
			return err
		}
		if err := b.failures.Fail(item.info.Path, err); err != nil {
			return err
		}
	}
	return nil
}

// referencesFirst returns objects sorted so that each comes after the objects that it refers to. One transaction accepts
// them in any order, but one by one, an object can only be registered after its references. Objects that refer to each
// other in a cycle stay in any order, and cannot be registered.
func referencesFirst(items []*batchItem) []*batchItem {
	left := make(map[storepath.Path]*batchItem, len(items))
	for _, item := range items {
		left[item.info.Path] = item
	}
	sorted := make([]*batchItem, 0, len(items))
	var visit func(item *batchItem)
	visit = func(item *batchItem) {
		if item == nil {
			return
		}
		delete(left, item.info.Path)
		for _, ref := range item.info.References {
			visit(left[ref])
		}
		sorted = append(sorted, item)
	}
	for _, item := range items {
		visit(left[item.info.Path])
	}
	return sorted
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
	defer b.stopLate()
	for _, item := range b.items {
		if item.placed {
			b.s.removeUnlessValid(b.late, item.info.Path)
		}
	}
	releaseLocks(b.items)
	b.items = nil
	if b.dir != nil {
		b.dir.remove()
		b.dir = nil
	}
}
