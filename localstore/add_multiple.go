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
// arrives, only the last batch is lost.
const (
	batchObjects = 256
	batchBytes   = 64 << 20 // of archives
	batchInfos   = 1 << 20  // bytes of path infos
)

// AddMultipleToStore adds n objects, each as [Store.AddToStoreNAR] does. It restores small objects, and those with a
// [store.Keepable] archive, in parallel, and registers many objects in one transaction.
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
	failures := new(store.Failures)
	b := s.newBatch(ctx, opts, failures)
	defer func() { b.cleanUp() }()
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(b.ctx)
		}
		if err == nil {
			err = b.add(object)
		}
		if err == nil && b.isFull() {
			if err = b.finish(); err != nil {
				return failures.Err(err)
			}
			b.cleanUp() // removes an empty directory
			b = s.newBatch(ctx, opts, failures)
			err = s.CollectIfFull(ctx)
		}
		if err != nil {
			return failures.Err(b.finishEarly(err))
		}
	}
	if got != n {
		return failures.Err(b.finishEarly(fmt.Errorf("got %d objects instead of %d", got, n)))
	}
	return failures.Err(b.finish())
}

// A batch is a group of objects that are registered in one transaction. They are created in one temporary directory.
// Their paths are locked when all objects are complete, so a slow sender does not block other writers.
//
// Errors of methods concern all objects, and end the call. An error of one object goes to failures.
type batch struct {
	s        *Store
	opts     *store.AddOptions
	failures *store.Failures
	ctx      context.Context // done at the first error that concerns all objects
	cancel   context.CancelFunc
	parent   context.Context // of the call
	restores *parallel.Group
	dir      *tempDir // nil before the first object

	items     []*batchItem
	paths     map[storepath.Path]bool // of items
	bytes     uint64                  // of archives
	infoBytes int
}

// A batchItem is one object of a batch.
type batchItem struct {
	info     *store.PathInfo
	name     string // in the temporary directory
	complete bool   // it was restored
	lock     *pathlock.Lock

	placed     bool  // it is in the store directory
	registered bool  // its path is valid
	err        error // why it could not be placed
}

func (s *Store) newBatch(ctx context.Context, opts *store.AddOptions, failures *store.Failures) *batch {
	b := &batch{s: s, opts: opts, failures: failures, parent: ctx, paths: make(map[storepath.Path]bool)}
	ctx, b.cancel = context.WithCancel(ctx)
	b.restores, b.ctx = parallel.WithContext(ctx, workers())
	return b
}

func (b *batch) isFull() bool {
	return len(b.items) >= batchObjects || b.bytes >= batchBytes || b.infoBytes >= batchInfos
}

// add checks an object and, if it is needed, creates it in the temporary directory.
func (b *batch) add(object store.Import) error {
	info, err := b.check(object)
	if err != nil {
		return b.failures.Fail(object.Info.Path, err)
	}
	if b.paths[info.Path] {
		return nil
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

// create restores an archive in the temporary directory. It returns before the object is complete if the archive is
// small or can be read later.
func (b *batch) create(info *store.PathInfo, archive io.Reader) (err error) {
	if b.dir == nil {
		if b.dir, err = b.s.newTempDir(b.ctx); err != nil {
			return err
		}
	}
	item := &batchItem{info: info, name: strconv.Itoa(len(b.items))}
	b.items, b.paths[info.Path] = append(b.items, item), true
	b.bytes, b.infoBytes = b.bytes+info.NARSize, b.infoBytes+sizeOf(info)
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
