package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"pix/internal/parallel"
	"pix/localstore/internal/pathlock"
	"pix/store"
	"pix/storepath"
)

// Many objects are registered in one transaction, but not so many that much is lost where the
// rest never comes.
const (
	batchObjects = 256
	batchBytes   = 64 << 20 // of archives
	batchInfos   = 1 << 20  // bytes of what is known of them
)

// AddMultipleToStore adds n objects, each as [Store.AddToStoreNAR] does. Small ones and those that
// can be kept ([store.Keepable]) are restored in parallel, and many are made valid at once. Those that are valid
// when there is an error stay.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	ctx = forGoroutines(ctx)
	if err := s.collectIfFull(ctx); err != nil {
		return err
	}
	b := s.newBatch(ctx, opts)
	defer func() { b.abandon() }()
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(b.ctx)
		}
		if err == nil {
			err = s.checkImport(object.Info, opts)
		}
		if err == nil {
			err = b.add(object)
		}
		if err == nil && b.isFull() {
			if err = b.finish(); err == nil {
				b.abandon() // nothing but an empty directory
				b = s.newBatch(ctx, opts)
				err = s.collectIfFull(ctx)
			}
		}
		if err != nil {
			return b.failed(err)
		}
	}
	if got != n {
		return b.failed(fmt.Errorf("%d objects came instead of %d", got, n))
	}
	return b.finish()
}

// A batch is some objects that are to become valid together. They are made in a directory beside
// the store's objects. Their locks are taken when all are complete, so that nobody waits for
// whoever sends them.
type batch struct {
	s      *Store
	opts   *store.AddOptions
	ctx    context.Context // ends with the first error
	end    context.CancelFunc
	parent context.Context
	work   *parallel.Group
	dir    *tempDir // nil before the first object

	made      []*made
	paths     map[storepath.Path]bool
	bytes     uint64 // of archives
	infoBytes int
}

// A made object is one of a batch.
type made struct {
	info   *store.PathInfo
	name   string // in the directory of the batch
	lock   *pathlock.Lock
	valid  bool // before it was added
	placed bool // in the store directory
}

func (s *Store) newBatch(ctx context.Context, opts *store.AddOptions) *batch {
	b := &batch{s: s, opts: opts, parent: ctx, paths: make(map[storepath.Path]bool)}
	ctx, b.end = context.WithCancel(ctx)
	b.work, b.ctx = parallel.WithContext(ctx, workers())
	return b
}

func (b *batch) isFull() bool {
	return len(b.made) >= batchObjects || b.bytes >= batchBytes || b.infoBytes >= batchInfos
}

// add restores an object, or has it restored while the next is read, if it is wanted: if it is
// not valid and not in the batch already.
func (b *batch) add(object store.Import) (err error) {
	info := object.Info
	if b.paths[info.Path] {
		return nil
	}
	if wanted, err := b.s.isWanted(b.ctx, info.Path, b.opts.Repair); err != nil || !wanted {
		return err
	}
	if b.dir == nil {
		if b.dir, err = b.s.makeTempDir(b.ctx); err != nil {
			return err
		}
	}
	m := &made{info: info, name: strconv.Itoa(len(b.made))}
	b.made, b.paths[info.Path] = append(b.made, m), true
	b.bytes, b.infoBytes = b.bytes+info.NARSize, b.infoBytes+sizeOf(info)
	if archive, ok := object.NAR.(store.Keepable); ok {
		b.work.Go(store.ReadKept(b.ctx, archive, func(archive io.Reader) error {
			return b.s.restore(b.ctx, b.dir.root, m.name, info, archive, b.opts)
		}))
		return nil
	}
	if info.NARSize > smallArchive {
		return b.s.restore(b.ctx, b.dir.root, m.name, info, object.NAR, b.opts)
	}
	archive, err := readArchive(info, object.NAR)
	if err != nil {
		return err
	}
	b.work.Go(func() error { return b.s.restore(b.ctx, b.dir.root, m.name, info, bytes.NewReader(archive), b.opts) })
	return nil
}

// sizeOf returns about how many bytes an info takes.
func sizeOf(info *store.PathInfo) int {
	n := 512
	for _, p := range info.References {
		n += len(p) + 16
	}
	for _, s := range info.Signatures {
		n += len(s) + 16
	}
	return n
}

// finish waits for all objects and makes them valid.
//
// A process that waits for a lock must hold no other. So if a lock cannot be had at once, because another
// process holds it, or because this one has too many files open, the objects before it are made valid first.
func (b *batch) finish() error {
	err := b.work.Wait()
	b.end()
	if err != nil {
		return err
	}
	first := 0
	for i, m := range b.made {
		var err error
		if m.lock, err = b.s.tryLockPath(m.info.Path); err != nil {
			return err
		}
		if m.lock == nil {
			if err := b.settle(b.made[first:i]); err != nil {
				return err
			}
			first = i
			if m.lock, err = b.s.lockPath(b.parent, m.info.Path); err != nil {
				return err
			}
		}
	}
	return b.settle(b.made[first:])
}

// settle puts objects that are locked into their places, makes them valid, and gives the locks
// back. Meanwhile somebody else may have made some of them.
func (b *batch) settle(some []*made) error {
	paths := make([]storepath.Path, len(some))
	for i, m := range some {
		paths[i] = m.info.Path
	}
	roots, err := b.s.addTempRoots(b.parent, paths...) // again: the first time may have been long ago
	if err != nil {
		return err
	}
	work, ctx := parallel.WithContext(b.parent, workers())
	defer work.Join()
	var infos []*store.PathInfo
	for _, m := range some {
		var err error
		if m.valid, err = b.s.IsValidPath(b.parent, m.info.Path); err != nil {
			return errors.Join(err, work.Wait())
		}
		if m.valid && !b.opts.Repair {
			continue
		}
		infos = append(infos, m.info)
		m.placed = true
		work.Go(func() error {
			return b.s.put(ctx, m.info.Path, m.valid, func(name string) error {
				return b.dir.moveTo(m.name, name)
			})
		})
	}
	err = work.Wait()
	for _, m := range some {
		if lost := m.lock.Check(); lost != nil {
			m.placed = false // and nothing of ours is there
			err = errors.Join(lost, err)
		}
	}
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		err = roots.Check()
	} else {
		_, err = b.s.register(b.parent, roots, true, infos...)
	}
	if err != nil {
		return err
	}
	release(some)
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

// failed returns why a batch ends: err, unless an error of the work has caused it. It raises a panic of
// the work again.
func (b *batch) failed(err error) error {
	isFirst := b.ctx.Err() == nil
	b.end()
	if working := b.work.Wait(); working != nil && !isFirst {
		return working
	}
	return err
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
