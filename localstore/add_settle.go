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

// How a batch of objects that were restored becomes valid: see add_multiple.go.

// finish waits for all objects, and makes those valid that are complete.
func (b *batch) finish() error {
	err := b.work.Wait()
	if err != nil {
		return b.finishEarly(err)
	}
	b.end()
	return b.place(b.whole())
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
	free := slices.DeleteFunc(b.whole(), func(m *made) bool { // a lock that another process holds is not waited for
		m.lock, _ = b.s.tryLockPath(m.info.Path)
		return m.lock == nil
	})
	b.settle(free) // what remains is removed, and err is returned
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

// place puts objects into their places and makes them valid.
//
// A process that waits for a lock must hold no other. So if a lock cannot be had at once, because another
// process holds it, or because this one has too many files open, the objects before it are made valid first.
func (b *batch) place(whole []*made) error {
	first := 0
	for i, m := range whole {
		var err error
		if m.lock, err = b.s.tryLockPath(m.info.Path); err != nil {
			return err
		}
		if m.lock == nil {
			if err := b.settle(whole[first:i]); err != nil {
				return err
			}
			first = i
			if m.lock, err = b.s.lockPath(b.parent, m.info.Path); err != nil {
				return err
			}
		}
	}
	return b.settle(whole[first:])
}

// settle puts objects that are locked into their places, makes them valid, and releases the locks.
// Meanwhile another process may have made some of them. An object for which this fails does not keep the
// others from becoming valid.
func (b *batch) settle(some []*made) error {
	if len(some) == 0 {
		return nil
	}
	paths := make([]storepath.Path, len(some))
	for i, m := range some {
		paths[i] = m.info.Path
	}
	roots, err := b.s.addTempRoots(b.parent, paths...) // again: the first time may have been long ago
	if err != nil {
		return err
	}
	placed, err := b.putAll(some)
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
	for _, m := range some {
		if m.placed && !m.registered {
			b.s.removeUnlessValid(b.parent, m.info.Path)
		}
	}
	release(some)
	return nil
}

// putAll puts objects into their places, and returns those that are to be made valid.
func (b *batch) putAll(some []*made) (placed []*made, err error) {
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
			m.placed = false // and nothing of ours is there
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

// register makes objects valid in one transaction or, if that fails, one by one.
func (b *batch) register(roots temproots.Held, placed []*made) error {
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
