package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"runtime"
	"strings"

	"golang.org/x/sync/semaphore"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// smallArchive is the largest size in bytes of an archive that is read into memory. Other objects are read
// while it is compressed and written.
const smallArchive = 1 << 20

// parallelAdds returns how many small archives are compressed and written at once. Each compression takes up to
// 10 MiB. There are more of them than processors, because they often wait for the disk.
func parallelAdds() int { return min(2*runtime.GOMAXPROCS(0), 8) }

// addsAtOnce returns how many objects of a batch are added at once. An upload mostly waits for the server, so there are
// more of them than archives that are compressed.
func (s *Store) addsAtOnce() int {
	if s.local == nil {
		return max(parallelAdds(), min(s.opts.HTTP.Parallel, 32))
	}
	return parallelAdds()
}

// A batch adds objects together. Each object waits for its references, which come before it, so one of them
// can always proceed.
type batch struct {
	store    *Store
	ctx      context.Context
	group    *parallel.Group
	params   addParams                        // without ready
	done     map[storepath.Path]chan struct{} // closed when the path was added or has failed
	failures store.Failures
}

// AddMultipleToStore adds n objects like [Store.AddToStoreNAR], several at once if they are small or can be
// kept ([store.Keepable]). Each object must come after its references. Objects that were added before an error
// remain.
//
// If the archive of an object is bad, or a server refuses the object, the others are added, except those that refer to it;
// then the error is a [*store.AddError].
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	group, groupCtx := parallel.WithContext(ctx, s.addsAtOnce())
	defer group.Join() // even if the sequence panics
	defer cancel()
	b := &batch{store: s, ctx: groupCtx, group: group, params: addParams{opts != nil && opts.Repair, semaphore.NewWeighted(int64(parallelAdds())), nil}, done: make(map[storepath.Path]chan struct{})}
	err = b.addAll(n, objects)
	if err != nil {
		cancel()
	}
	// After a failure the other additions are cancelled. Return the first error, not a cancellation.
	if failed := group.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	return b.failures.Err(err)
}

// addAll adds the objects of a sequence.
func (b *batch) addAll(n int, objects iter.Seq2[store.Import, error]) error {
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
		return fmt.Errorf("expected %d objects, but got %d", n, got)
	}
	return nil
}

// An addition adds one object.
type addition struct {
	batch      *batch
	info       store.PathInfo
	references []chan struct{} // closed when its references were added
	done       chan struct{}
	src        *store.ObjectReader
	unasked    bool // the server must still be asked whether it has the object
	known      bool // the cache has the object
}

// add adds an object. It returns before the object was added if the archive is small or can be kept;
// other archives must be read before the sequence continues.
func (b *batch) add(object store.Import) error {
	a := &addition{batch: b, info: *object.Info, done: make(chan struct{}), src: new(store.ObjectReader)}
	a.unasked = !b.params.repair && !b.store.isAnswered(b.ctx, a.info.Path)
	if err := a.ask(!a.unasked); err != nil || a.known {
		if _, refused := errors.AsType[*store.InfoError](err); refused {
			return b.failures.Fail(a.info.Path, err)
		}
		return err
	}
	for _, ref := range a.info.References {
		if ended := b.done[ref]; ended != nil && ref != a.info.Path {
			a.references = append(a.references, ended)
		}
	}
	b.done[a.info.Path] = a.done
	if archive, ok := object.NAR.(store.Keepable); ok {
		read := store.ReadKept(b.ctx, archive, a.read)
		b.group.Go(func() error { return a.finish(read()) })
		return nil
	}
	if a.info.NARSize == 0 || a.info.NARSize > smallArchive {
		return a.finish(a.read(object.NAR))
	}
	archive := bytes.NewBuffer(make([]byte, 0, a.info.NARSize+bytes.MinRead))
	if _, err := archive.ReadFrom(io.LimitReader(&contextReader{b.ctx, object.NAR}, int64(a.info.NARSize)+1)); err != nil {
		if b.ctx.Err() != nil {
			return contextError(b.ctx)
		}
		close(a.done)
		return b.failures.Fail(a.info.Path, fmt.Errorf("adding '%s' to the binary cache: %w", a.info.Path, err))
	}
	b.group.Go(func() error { return a.finish(a.read(archive)) })
	return nil
}

// ask checks the info. With now, it also determines whether the archive is needed. Otherwise read does that on another
// goroutine, so that the server gets many queries at once.
func (a *addition) ask(now bool) error {
	if !now {
		return a.batch.store.checkInfo(&a.info)
	}
	wanted, err := a.batch.store.needsArchive(a.batch.ctx, &a.info, a.batch.params.repair)
	a.known = err == nil && !wanted
	return err
}

// read adds the object from its archive. It may be called again after a failure.
func (a *addition) read(archive io.Reader) error {
	if a.unasked {
		if err := a.ask(true); err != nil || a.known {
			return err
		}
		a.unasked = false
	}
	a.src = &store.ObjectReader{Archive: archive}
	params := a.batch.params
	params.ready = a.wait
	return a.batch.store.add(a.batch.ctx, &a.info, a.src, &params)
}

// finish records the result of adding the object. An error it returns ends the whole batch.
func (a *addition) finish(err error) error {
	b := a.batch
	_, dependent := errors.AsType[*store.MissingReferenceError](err)
	switch {
	case a.known:
	case err == nil:
		b.failures.Succeed()
	case b.ctx.Err() == nil && (dependent || a.src.IsFault(err) || isObjectRefused(err)):
		err = b.failures.Fail(a.info.Path, err)
	}
	if err == nil {
		close(a.done)
	}
	return err
}

// isObjectRefused reports whether a server has refused one object, and not uploads in general. For example, the object
// is unsigned, or the server has another one with the same hash part. A server that accepts no uploads refuses the
// archive, which is sent first, with the status 403.
func isObjectRefused(err error) bool {
	failure, ok := errors.AsType[*RequestError](err)
	if !ok || failure.Method != http.MethodPut {
		return false
	}
	switch failure.Status {
	case http.StatusForbidden:
		return strings.Contains(failure.URL, ".narinfo")
	case http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// wait waits until the references of the object have been added or have failed.
func (a *addition) wait() error {
	for _, done := range a.references {
		select {
		case <-done:
		case <-a.batch.ctx.Done():
			return contextError(a.batch.ctx)
		}
	}
	if a.batch.params.repair { // a reference that could not be repaired still exists
		return nil
	}
	return a.batch.failures.CheckReferences(&a.info)
}
