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

// How a batch of restored objects becomes valid. finish locks the paths and calls commit, which moves the objects
// to the store directory and registers them. See add_multiple.go for how the objects are restored.

// finish waits for all objects, and makes those valid that are complete.
func (b *batch) finish() error {
	err := b.work.Wait()
	if err != nil {
		return b.finishEarly(err)
	}
	b.end()
	return b.lockAndCommit(b.whole())
}

// earlyLimit is how long making objects valid may take after the call has failed or was cancelled.
const earlyLimit = 5 * time.Second

// finishEarly makes the objects valid that are complete although the call ends with an error, so that they
// need not be fetched again. It returns that error: err, unless it is the consequence of an earlier one.
func (b *batch) finishEarly(err error) error {
	isFirst := b.ctx.Err() == nil
	b.end()
	if working := b.work.Wait(); working != nil && !isFirst {
		err = working
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.parent), earlyLimit)
	defer cancel()
	b.parent = ctx
	free := slices.DeleteFunc(b.whole(), func(m *made) bool { // without waiting for locks of other processes
		m.lock, _ = b.s.tryLockPath(m.info.Path)
		return m.lock == nil
	})
	b.commit(free) // abandon removes what remains
	return err
}

// whole returns the objects that are complete and refer to none that has failed.
func (b *batch) whole() []*made {
	var whole []*made
	for _, m := range b.made {
		if !m.complete {
			continue
		}
		if err := b.checkReferences(m.info); err != nil {
			b.failures.Fail(m.info.Path, err)
			continue
		}
		whole = append(whole, m)
	}
	return whole
}

// lockAndCommit locks the paths of objects and makes the objects valid.
//
// A process that waits for a lock must hold no other. If a lock is not free, because another process holds it
// or because this process has too many files open, the objects before it are made valid first.
func (b *batch) lockAndCommit(whole []*made) error {
	first := 0
	for i, m := range whole {
		var err error
		if m.lock, err = b.s.tryLockPath(m.info.Path); err != nil {
			return err
		}
		if m.lock == nil {
			if err := b.commit(whole[first:i]); err != nil {
				return err
			}
			first = i
			if m.lock, err = b.s.lockPath(b.parent, m.info.Path); err != nil {
				return err
			}
		}
	}
	return b.commit(whole[first:])
}

// commit moves objects whose paths are locked to the store directory, makes them valid, and releases the locks.
// Another process may have added some of them before the paths were locked. If an object fails, the others still
// become valid.
func (b *batch) commit(some []*made) error {
	if len(some) == 0 {
		return nil
	}
	paths := make([]storepath.Path, len(some))
	for i, m := range some {
		paths[i] = m.info.Path
	}
	// The batch made these roots when the objects arrived. The temproots file may have been deleted since then.
	roots, err := b.s.addTempRoots(b.parent, paths...)
	if err != nil {
		return err
	}
	placed, err := b.moveAll(some)
	if err != nil {
		return err
	}
	if len(placed) == 0 {
		err = roots.Check()
	} else {
		err = b.registerAll(roots, placed)
	}
	if err != nil {
		return err
	}
	for _, m := range some {
		if m.placed && !m.registered {
			b.s.removeUnlessValid(b.parent, m.info.Path)
		}
	}
	release(some)
	return nil
}

// moveAll moves objects to the store directory, and returns the objects that it has moved.
func (b *batch) moveAll(some []*made) (placed []*made, err error) {
	work, ctx := parallel.WithContext(b.parent, workers())
	defer work.Join()
	for _, m := range some {
		if m.valid, err = b.s.IsValidPath(b.parent, m.info.Path); err != nil {
			return nil, errors.Join(err, work.Wait())
		}
		if m.valid && !b.opts.Repair {
			continue
		}
		m.placed = true
		work.Go(func() error {
			m.err = b.s.put(ctx, m.info.Path, m.valid, func(name string) error {
				return b.dir.moveTo(m.name, name)
			})
			return nil
		})
	}
	work.Wait()
	for _, m := range some {
		if lost := m.lock.Check(); lost != nil {
			m.placed = false // the object is gone with the store
			m.err = errors.Join(lost, m.err)
		}
		switch {
		case m.err == nil && m.placed:
			placed = append(placed, m)
		case m.err != nil && b.parent.Err() != nil:
			return nil, m.err
		case m.err != nil && m.err != errIsValid:
			if err := b.failures.Fail(m.info.Path, m.err); err != nil {
				return nil, err
			}
		}
	}
	return placed, nil
}

// registerAll makes objects valid in one transaction or, if that fails, one by one.
func (b *batch) registerAll(roots temproots.Held, placed []*made) error {
	infos := make([]*store.PathInfo, len(placed))
	for i, m := range placed {
		infos[i] = m.info
	}
	if _, err := b.s.register(b.parent, roots, true, infos...); err == nil {
		for _, m := range placed {
			m.registered = true
		}
		return nil
	}
	for _, m := range placed {
		err := b.checkReferences(m.info)
		if err == nil {
			_, err = b.s.register(b.parent, roots, true, m.info)
		}
		if err == nil {
			m.registered = true
			continue
		}
		if b.parent.Err() != nil {
			return err
		}
		if err := b.failures.Fail(m.info.Path, err); err != nil {
			return err
		}
	}
	return nil
}

// release releases the locks of objects. abandon does not remove the objects any more.
func release(some []*made) {
	for _, m := range some {
		if m.lock != nil {
			m.lock.Release()
		}
		m.lock, m.placed = nil, false
	}
}

// abandon removes objects that are not valid, and releases the locks. It runs also after a panic of the
// work, which it does not raise again.
func (b *batch) abandon() {
	b.end()
	b.work.Join()
	for _, m := range b.made {
		if m.placed {
			b.s.removeUnlessValid(b.parent, m.info.Path)
		}
	}
	release(b.made)
	b.made = nil
	if b.dir != nil {
		b.dir.remove()
		b.dir = nil
	}
}
