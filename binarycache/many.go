package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// smallArchive is the size in bytes up to which an archive is read into memory, so that
// others are added while it is compressed and written.
const smallArchive = 1 << 20

// atOnce returns how many small archives are compressed and written at once. Compressing
// takes up to 10 MiB for each; much of the time goes to waiting for the disk.
func atOnce() int { return min(2*runtime.GOMAXPROCS(0), 8) }

// A batch is objects that are added together. Each waits for those that it refers to, which
// come before it, so that one of them can always go on.
type batch struct {
	store    *Store
	ctx      context.Context
	group    *parallel.Group
	repair   bool
	ended    map[storepath.Path]chan struct{} // closed when a path was added or has failed
	failures store.Failures
}

// AddMultipleToStore adds n objects, as [Store.AddToStoreNAR] does, several at once: small ones, and
// those that can be kept ([store.Keepable]). Those that others refer to come first. Those that were
// added before an error stay.
//
// If the archive of an object is bad, the others are added, except those that refer to it; the error is a
// [*store.AddError] then.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	group, groupCtx := parallel.WithContext(ctx, atOnce())
	defer group.Join() // also if the sequence panics
	defer cancel()
	b := &batch{store: s, ctx: groupCtx, group: group, repair: opts != nil && opts.Repair, ended: make(map[storepath.Path]chan struct{})}
	err := b.take(n, objects)
	if err != nil {
		cancel()
	}
	// If one fails, the others are told to end. The first error is what matters.
	if failed := group.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	return b.failures.Err(err)
}

// take takes in the objects as they come.
func (b *batch) take(n int, objects iter.Seq2[store.Import, error]) error {
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = b.add(object)
		}
		if err != nil {
			return err
		}
	}
	if got != n {
		return fmt.Errorf("%d objects came instead of %d", got, n)
	}
	return nil
}

// An addition is an object that is being added.
type addition struct {
	batch  *batch
	info   store.PathInfo
	before []chan struct{} // of those that it refers to
	ended  chan struct{}
	src    *store.ObjectReader
}

// add adds an object, or has it added if it is small or can be kept. Else its archive was read
// afterwards.
func (b *batch) add(object store.Import) error {
	a := &addition{batch: b, info: *object.Info, ended: make(chan struct{})}
	wanted, err := b.store.isWanted(b.ctx, &a.info, b.repair)
	if _, refused := errors.AsType[*store.InfoError](err); refused {
		return b.failures.Fail(a.info.Path, err)
	}
	if err != nil || !wanted {
		return err
	}
	for _, ref := range a.info.References {
		if ended := b.ended[ref]; ended != nil && ref != a.info.Path {
			a.before = append(a.before, ended)
		}
	}
	b.ended[a.info.Path] = a.ended
	if archive, ok := object.NAR.(store.Keepable); ok {
		read := store.ReadKept(b.ctx, archive, a.read)
		b.group.Go(func() error { return a.end(read()) })
		return nil
	}
	if a.info.NARSize == 0 || a.info.NARSize > smallArchive {
		return a.end(a.read(object.NAR))
	}
	archive := bytes.NewBuffer(make([]byte, 0, a.info.NARSize+bytes.MinRead))
	if _, err := archive.ReadFrom(io.LimitReader(&contextReader{b.ctx, object.NAR}, int64(a.info.NARSize)+1)); err != nil {
		if b.ctx.Err() != nil {
			return ended(b.ctx)
		}
		close(a.ended)
		return b.failures.Fail(a.info.Path, fmt.Errorf("adding '%s' to the binary cache: %w", a.info.Path, err))
	}
	b.group.Go(func() error { return a.end(a.read(archive)) })
	return nil
}

// read adds the object from its archive. It may be called again after an error.
func (a *addition) read(archive io.Reader) error {
	a.src = &store.ObjectReader{Archive: archive}
	return a.batch.store.add(a.batch.ctx, &a.info, a.src, a.batch.repair, a.wait)
}

// end notes how adding the object has ended. An error is for all objects.
func (a *addition) end(err error) error {
	b := a.batch
	_, dependent := errors.AsType[*store.MissingReferenceError](err)
	switch {
	case err == nil:
		b.failures.Succeed()
	case b.ctx.Err() == nil && (dependent || a.src.IsFault(err)):
		err = b.failures.Fail(a.info.Path, err)
	}
	if err == nil {
		close(a.ended)
	}
	return err
}

// wait waits until the objects of the batch that this one refers to have been added or have failed.
func (a *addition) wait() error {
	for _, done := range a.before {
		select {
		case <-done:
		case <-a.batch.ctx.Done():
			return ended(a.batch.ctx)
		}
	}
	if a.batch.repair { // what could not be repaired is still there
		return nil
	}
	return a.batch.failures.CheckReferences(&a.info)
}
