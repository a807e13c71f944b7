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
// can be kept ([store.Keepable]) are restored in parallel, and many are made valid at once.
//
// If the archive of an object is bad, the others are added, except those that refer to it; the error is a
// [*store.AddError] then. If the call has to end early, because the sequence or the disk fails or ctx ends,
// the objects that are complete become valid.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	ctx = forGoroutines(ctx)
	if err := s.collectIfFull(ctx); err != nil {
		return err
	}
	failures := new(store.Failures)
	b := s.newBatch(ctx, opts, failures)
	defer func() { b.abandon() }()
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(b.ctx)
		}
		if err == nil {
			err = b.take(object)
		}
		if err == nil && b.isFull() {
			if err = b.finish(); err != nil {
				return failures.Err(err)
			}
			b.abandon() // nothing but an empty directory
			b = s.newBatch(ctx, opts, failures)
			err = s.collectIfFull(ctx)
		}
		if err != nil {
			return failures.Err(b.finishEarly(err))
		}
	}
	if got != n {
		return failures.Err(b.finishEarly(fmt.Errorf("%d objects came instead of %d", got, n)))
	}
	return failures.Err(b.finish())
}

// A batch is some objects that are to become valid together. They are made in a directory beside
// the store's objects. Their locks are taken when all are complete, so that a slow sender does not block
// other writers.
type batch struct {
	s        *Store
	opts     *store.AddOptions
	failures *store.Failures
	ctx      context.Context // ends with the first error that concerns all objects
	end      context.CancelFunc
	parent   context.Context
	work     *parallel.Group
	dir      *tempDir // nil before the first object

	made      []*made
	paths     map[storepath.Path]bool
	bytes     uint64 // of archives
	infoBytes int
}

// A made object is one of a batch.
type made struct {
	info     *store.PathInfo
	name     string // in the directory of the batch
	complete bool   // it was restored
	lock     *pathlock.Lock
	valid    bool // before it was added

	placed     bool // in the store directory
	registered bool
	err        error // why it could not be placed
}

func (s *Store) newBatch(ctx context.Context, opts *store.AddOptions, failures *store.Failures) *batch {
	b := &batch{s: s, opts: opts, failures: failures, parent: ctx, paths: make(map[storepath.Path]bool)}
	ctx, b.end = context.WithCancel(ctx)
	b.work, b.ctx = parallel.WithContext(ctx, workers())
	return b
}

func (b *batch) isFull() bool {
	return len(b.made) >= batchObjects || b.bytes >= batchBytes || b.infoBytes >= batchInfos
}

// take adds an object to the batch, or notes why it cannot be added. An error is for all objects.
func (b *batch) take(object store.Import) error {
	err := b.s.checkImport(object.Info, b.opts)
	if _, untrusted := errors.AsType[*store.UntrustedError](err); untrusted {
		var fresh *store.PathInfo
		if object.Refresh != nil { // the info may be old, or have come damaged
			fresh = object.Refresh(b.ctx)
		}
		if fresh == nil || b.s.checkImport(fresh, b.opts) != nil {
			return b.failures.Fail(object.Info.Path, err)
		}
		object.Info, err = fresh, nil
	}
	if err != nil {
		return b.failures.Fail(object.Info.Path, err)
	}
	if err := b.checkReferences(object.Info); err != nil {
		return b.failures.Fail(object.Info.Path, err)
	}
	return b.add(object)
}

// checkReferences returns an error if an object refers to one that has failed and is not valid therefore.
func (b *batch) checkReferences(info *store.PathInfo) error {
	if b.opts.Repair { // what could not be repaired is still valid
		return nil
	}
	return b.failures.CheckReferences(info)
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
		b.work.Go(b.restoreKept(m, archive))
		return nil
	}
	src := &store.ObjectReader{Archive: object.NAR}
	if info.NARSize > smallArchive {
		return b.restored(m, src, b.s.restore(b.ctx, b.dir.root, m.name, info, src, b.opts))
	}
	archive, err := readArchive(info, src)
	if err != nil {
		return b.restored(m, src, err)
	}
	b.work.Go(func() error {
		src := &store.ObjectReader{Archive: bytes.NewReader(archive)}
		return b.restored(m, src, b.s.restore(b.ctx, b.dir.root, m.name, info, src, b.opts))
	})
	return nil
}

// restoreKept returns a function that restores an object from an archive that is kept.
func (b *batch) restoreKept(m *made, archive store.Keepable) func() error {
	var src *store.ObjectReader
	read := store.ReadKept(b.ctx, archive, func(archive io.Reader) error {
		if src != nil { // the rest of the first attempt is in the way
			m.name += "-again"
		}
		src = &store.ObjectReader{Archive: archive}
		return b.s.restore(b.ctx, b.dir.root, m.name, m.info, src, b.opts)
	})
	return func() error {
		err := read()
		return b.restored(m, src, err)
	}
}

// restored notes how restoring an object has ended. An error is for all objects.
func (b *batch) restored(m *made, src *store.ObjectReader, err error) error {
	if err == nil {
		m.complete = true
		b.failures.Succeed()
		return nil
	}
	switch {
	case b.parent.Err() != nil: // the archive was closed therefore
		return context.Cause(b.parent)
	case b.ctx.Err() == nil && src.IsFault(err):
		return b.failures.Fail(m.info.Path, err)
	}
	return err
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
