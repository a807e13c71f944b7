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

// A batch is registered in one transaction when it reaches one of these limits. If the rest of the upload never
// arrives, only the last batch is lost. With more objects than [pathlock.MaxSpares], a batch would create and delete
// lock files, which takes longer than everything else.
const (
	batchObjects = pathlock.MaxSpares
	batchBytes   = 64 << 20 // of archives
	batchInfos   = 1 << 20  // bytes of path infos
	batchFiles   = 1 << 20  // bytes of files in memory
)

// AddMultipleToStore adds n objects, each as [Store.AddToStoreNAR] does. It restores small objects, and those with a
// [store.Keepable] archive, in parallel, and registers many objects in one transaction. While it registers objects, it
// reads the next ones.
//
// If an archive is bad, AddMultipleToStore adds the other objects, except those that refer to the bad one, and returns
// a [*store.AddError]. If it cannot continue, because the sequence or the disk fails or ctx is done, it still registers
// the objects that are complete.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	ctx = forGoroutines(ctx)
	if err := s.CollectIfFull(ctx); err != nil {
		return err
	}
	a := s.newMultipleAdder(ctx, opts)
	defer a.close()
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = a.add(object)
		}
		if err != nil {
			return a.endEarly(err)
		}
	}
	if got != n {
		return a.endEarly(fmt.Errorf("got %d objects instead of %d", got, n))
	}
	return a.end()
}

// A multipleAdder adds the objects of one call in batches. It places and registers one batch on another goroutine while
// it reads the next one.
type multipleAdder struct {
	s        *Store
	opts     *store.AddOptions
	failures *store.Failures
	call     context.Context // of the call
	ctx      context.Context // is also done when a batch could not be placed
	placing  *parallel.Group // places one batch at a time
	current  *batch
}

func (s *Store) newMultipleAdder(ctx context.Context, opts *store.AddOptions) *multipleAdder {
	a := &multipleAdder{s: s, opts: opts, failures: new(store.Failures), call: ctx}
	a.placing, a.ctx = parallel.WithContext(ctx, 1)
	a.current = a.newBatch()
	return a
}

func (a *multipleAdder) add(object store.Import) error {
	if err := context.Cause(a.current.ctx); err != nil {
		return err
	}
	if err := a.current.add(object); err != nil || !a.current.isFull() {
		return err
	}
	if err := a.current.restores.Wait(); err != nil {
		return err
	}
	a.startPlacing()
	before := a.current.paths
	a.current = a.newBatch()
	a.current.before = before
	return nil
}

// startPlacing places and registers the current batch on another goroutine, after the batch before it.
func (a *multipleAdder) startPlacing() {
	b := a.current
	a.placing.Go(func() error {
		defer b.cleanUp() // removes an empty directory
		if err := b.lockAndAdd(b.completeItems()); err != nil {
			return err
		}
		return a.s.CollectIfFull(a.ctx)
	})
}

// end adds the rest, after the last object.
func (a *multipleAdder) end() error {
	if err := a.current.restores.Wait(); err != nil {
		return a.endEarly(err)
	}
	a.startPlacing()
	return a.failures.Err(a.placing.Wait())
}

// endEarly adds the complete objects, after an error that ends the call, and returns the error of the call.
func (a *multipleAdder) endEarly(err error) error {
	isFirst := a.current.ctx.Err() == nil
	if failed := a.placing.Wait(); failed != nil { // the objects of the current batch may refer to missing ones
		return a.failures.Err(failed)
	}
	return a.failures.Err(a.current.finishEarly(err, isFirst))
}

// close waits for the goroutines of the call, and removes the objects that were not registered.
func (a *multipleAdder) close() {
	a.placing.Join()
	a.current.cleanUp()
}

// A batch is a group of objects that are registered in one transaction. They are created in memory or in one temporary
// directory. Their paths are locked when all objects are complete, so a slow sender does not block other writers.
//
// Errors of methods concern all objects, and end the call. An error of one object goes to failures.
type batch struct {
	s        *Store
	opts     *store.AddOptions
	failures *store.Failures
	ctx      context.Context // done at the first error that concerns all objects
	cancel   context.CancelFunc
	parent   context.Context // of the call
	late     context.Context // for placing and registering: done some time after parent
	stopLate context.CancelFunc
	restores *parallel.Group
	dir      *tempDir // nil before the first object that is not a file in memory

	items     []*batchItem
	paths     map[storepath.Path]bool // of items
	before    map[storepath.Path]bool // of the batch before, which may not be registered yet
	bytes     uint64                  // of archives
	infoBytes int
	fileBytes int

	failed error // why a file in memory could not be written
}

// A batchItem is one object of a batch.
type batchItem struct {
	info     *store.PathInfo
	name     string // in the temporary directory
	inMemory bool   // it is a file with these contents, which is not in the temporary directory
	contents []byte
	complete bool // it was restored
	lock     *pathlock.Lock

	placed     bool  // it is in the store directory
	registered bool  // its path is valid
	err        error // why it could not be placed
}

func (a *multipleAdder) newBatch() *batch {
	b := &batch{s: a.s, opts: a.opts, failures: a.failures, parent: a.ctx, paths: make(map[storepath.Path]bool)}
	ctx, cancel := context.WithCancel(a.ctx)
	b.cancel = cancel
	b.late, b.stopLate = withGrace(a.call, earlyLimit)
	b.restores, b.ctx = parallel.WithContext(ctx, workers())
	return b
}

func (b *batch) isFull() bool {
	return len(b.items) >= batchObjects || b.bytes >= batchBytes || b.infoBytes >= batchInfos || b.fileBytes >= batchFiles
}

// add checks an object and, if it is needed, creates it in the temporary directory.
func (b *batch) add(object store.Import) error {
	info, err := b.check(object)
	if err != nil {
		return b.failures.Fail(object.Info.Path, err)
	}
	if b.paths[info.Path] || b.before[info.Path] {
		return nil
	}
	if b.fitsMemory(info, object.NAR) {
		return b.addFile(info, object.NAR)
	}
	needed, err := b.s.prepare(b.ctx, info.Path, b.opts.Repair)
	if err != nil || !needed {
		return err
	}
	return b.create(info, object.NAR)
}

// check returns the info of an object that may be added. If the info is not trusted, it may be outdated or damaged, so
// check asks once for a fresh one.
func (b *batch) check(object store.Import) (*store.PathInfo, error) {
	info := object.Info
	err := b.s.checkImport(info, b.opts)
	if errors.As(err, new(*store.UntrustedError)) && object.Refresh != nil {
		if fresh := object.Refresh(b.ctx); fresh != nil && b.s.checkImport(fresh, b.opts) == nil {
			info, err = fresh, nil
		}
	}
	if err == nil {
		err = b.checkReferences(info)
	}
	return info, err
}

// checkReferences returns an error if an object refers to another one that has failed. When objects are repaired, the
// one that has failed is still valid.
func (b *batch) checkReferences(info *store.PathInfo) error {
	if b.opts.Repair {
		return nil
	}
	return b.failures.CheckReferences(info)
}

// newItem adds an object to the batch.
func (b *batch) newItem(info *store.PathInfo) *batchItem {
	item := &batchItem{info: info, name: strconv.Itoa(len(b.items))}
	b.items, b.paths[info.Path] = append(b.items, item), true
	b.bytes, b.infoBytes = b.bytes+info.NARSize, b.infoBytes+sizeOf(info)
	return item
}

// create restores an archive in the temporary directory. It returns before the object is complete if the archive is
// small or can be read later.
func (b *batch) create(info *store.PathInfo, archive io.Reader) (err error) {
	if b.dir == nil {
		if b.dir, err = b.s.newTempDir(b.ctx); err != nil {
			return err
		}
	}
	item := b.newItem(info)
	if kept, ok := archive.(store.Keepable); ok {
		b.restores.Go(b.restoreKept(item, kept))
		return nil
	}
	src := &store.ObjectReader{Archive: archive}
	if info.NARSize > smallArchive {
		return b.restored(item, src, b.s.create(b.ctx, b.dir.root, item.name, info, src, b.opts))
	}
	small, err := readArchive(info, src)
	if err != nil {
		return b.restored(item, src, err)
	}
	b.restores.Go(func() error {
		src := &store.ObjectReader{Archive: bytes.NewReader(small)}
		return b.restored(item, src, b.s.create(b.ctx, b.dir.root, item.name, info, src, b.opts))
	})
	return nil
}

// restoreKept returns a function that restores an object from an archive that can be read later, and more than once.
func (b *batch) restoreKept(item *batchItem, archive store.Keepable) func() error {
	var src *store.ObjectReader
	read := store.ReadKept(b.ctx, archive, func(archive io.Reader) error {
		if src != nil { // the first attempt may have left files
			item.name += "-again"
		}
		src = &store.ObjectReader{Archive: archive}
		return b.s.create(b.ctx, b.dir.root, item.name, item.info, src, b.opts)
	})
	return func() error {
		err := read()
		return b.restored(item, src, err)
	}
}

// restored records the result of restoring an object.
func (b *batch) restored(item *batchItem, src *store.ObjectReader, err error) error {
	if err == nil {
		item.complete = true
		b.failures.Succeed()
		return nil
	}
	switch {
	case b.parent.Err() != nil: // the archive was closed because the call was cancelled
		return context.Cause(b.parent)
	case b.ctx.Err() == nil && src.IsFault(err):
		return b.failures.Fail(item.info.Path, err)
	}
	return err
}

// sizeOf returns an estimate of the bytes of memory that a path info needs.
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
