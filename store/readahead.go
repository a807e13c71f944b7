package store

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"pix/internal/parallel"
	"pix/storepath"
)

const (
	// smallArchive is the largest size in bytes of an archive that is read completely before
	// its turn. A larger one is only opened before.
	smallArchive = 1 << 20
	// archivesAhead is the largest total size in bytes of archives in memory.
	archivesAhead = 32 << 20
	// objectsAhead is the largest number of archives that are read ahead: twice as many as the
	// default reads return at once. Each takes about a kilobyte besides its contents, so the limit
	// on their size does not bound the memory of tiny ones.
	objectsAhead = 1024
	// batchBytes and batchObjects limit a batch of archives. It keeps a distant source busy
	// until the next request arrives.
	batchBytes   = 512 << 10
	batchObjects = 32
	// parallelReads is the default number of concurrent batches.
	parallelReads = 16
	// limitedReads is the largest number of concurrent reads from a source that limits them.
	limitedReads = 128
	// maxBadAhead is the number of consecutive unreadable small archives after which no more
	// are read ahead.
	maxBadAhead = 64
)

// largeOpen returns the number of large archives that are open at a time: as many as can be
// decoded, and one that is being received.
func largeOpen() int64 { return int64(min(runtime.GOMAXPROCS(0), 8) + 1) }

func isSmall(info *PathInfo) bool { return 0 < info.NARSize && info.NARSize <= smallArchive }

// An opened is an open archive, or the error of opening it.
type opened struct {
	nar       io.ReadCloser
	cancel    context.CancelFunc // ends a Read
	err       error
	retried   bool      // it was read a second time
	info      *PathInfo // the current info, if the caller's is outdated
	cancelled bool      // err is only the consequence of a cancellation

	inMemory bool // a small archive that was read into memory
}

// A readAhead has archives that one call of [withArchives] has read and not used, for the next
// call. They count again as memory when that call reaches them.
type readAhead map[*PathInfo]opened

// keepOnly drops the archives of objects that are not in some.
func (a readAhead) keepOnly(some []*PathInfo) {
	wanted := make(map[*PathInfo]bool, len(some))
	for _, info := range some {
		wanted[info] = true
	}
	maps.DeleteFunc(a, func(info *PathInfo, _ opened) bool { return !wanted[info] })
}

// withArchives calls use with a sequence of objects and their archives. Other goroutines open
// the archives ahead, and read small ones. When withArchives returns, none of this runs any
// more, even if use keeps the sequence on another goroutine, or panics.
//
// So code of the source and of the caller runs on goroutines of use, and on those that read
// ahead. A guard runs it there: see [parallel.Guard].
//
// An object whose archive cannot be read is in the sequence, so that the others can be added:
// reading its archive returns the error, and failed has it when withArchives has returned. The
// same applies to an object that refers to it.
//
// withArchives uses the archives in ahead, and leaves those there that it has read and not
// used.
func withArchives(ctx context.Context, src Store, objects []*PathInfo, ahead readAhead, opts *CopyOptions, use func(context.Context, iter.Seq2[Import, error]) error) (failed map[storepath.Path]readFailure, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := &parallel.Guard{Stop: cancel}
	defer guard.End() // also if use panics
	var r *aheadReader
	err = func() error {
		var report *copyReport
		if !opts.Quiet {
			ctx, report = reportCopy(ctx, guard, objects)
			defer report.finish()
		}
		r = newAheadReader(ctx, guard, src, objects, ahead, opts)
		defer r.close()
		return use(ctx, report.objects(r.yieldImports))
	}()
	guard.End()
	guard.Repanic()
	if _, isAddError := errors.AsType[*AddError](err); err != nil && !isAddError && r.tooMany != nil {
		err = r.tooMany // the destination reports only the first failure
	}
	return r.readFailures(), err
}

// A readFailure is the reason why the archive of an object could not be read.
type readFailure struct {
	err     error
	retried bool // it was read a second time
}

// readFailures returns the objects whose archives could not be read.
func (r *aheadReader) readFailures() map[storepath.Path]readFailure {
	failed := make(map[storepath.Path]readFailure, len(r.failures.failed))
	for _, f := range r.failures.failed {
		failed[f.Path] = readFailure{f.Err, r.retried[f.Path]}
	}
	return failed
}

// recordFailure records that the archive of an object could not be read.
func (r *aheadReader) recordFailure(info *PathInfo, err error, twice bool) {
	tooMany := r.failures.Fail(info.Path, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retried[info.Path] = twice
	if tooMany != nil {
		r.tooMany = tooMany
	}
}

// An aheadReader reads the archives of objects in their order, ahead within the limits on memory.
type aheadReader struct {
	src        Store
	infos      []*PathInfo
	progress   func(*PathInfo)
	repair     bool
	manyReader ManyNARReader // the source, if it has this capability
	limiter    ReadLimiter   // likewise
	archives   []chan opened // a ring; see archive
	taken      atomic.Int64  // number of archives that were received from it
	ahead      readAhead     // used by run, and by close after run has ended

	ctx     context.Context // for reading
	cancel  context.CancelFunc
	guard   *parallel.Guard
	running sync.WaitGroup // reading goroutines

	objects    *semaphore.Weighted // for archives in the ring
	memory     *semaphore.Weighted // for small archives, in bytes
	largeSlots *semaphore.Weighted // for open large archives
	readSlots  *semaphore.Weighted // for running batches

	failures Failures     // failed objects whose turn has come
	badInRow atomic.Int64 // number of consecutive small archives that could not be read ahead

	mu      sync.Mutex
	yielded map[*aheadArchive]bool  // archives that were yielded and not closed yet
	retried map[storepath.Path]bool // failed archives that were read a second time
	tooMany error                   // not nil after so many failures that the rest is not tried
	ended   bool
}

// newAheadReader starts reading. The caller must call close.
func newAheadReader(ctx context.Context, guard *parallel.Guard, src Store, infos []*PathInfo, ahead readAhead, opts *CopyOptions) *aheadReader {
	r := &aheadReader{
		src: src, infos: infos, ahead: ahead, progress: opts.Progress, repair: opts.Repair, archives: make([]chan opened, min(len(infos), objectsAhead)), guard: guard,
		objects:    semaphore.NewWeighted(objectsAhead),
		memory:     semaphore.NewWeighted(archivesAhead),
		largeSlots: semaphore.NewWeighted(largeOpen()),
		yielded:    make(map[*aheadArchive]bool),
		retried:    make(map[storepath.Path]bool),
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.manyReader, _ = As[ManyNARReader](src)
	reads := parallelReads
	if limiter, ok := As[ReadLimiter](src); ok {
		r.limiter, reads = limiter, limitedReads
	}
	r.readSlots = semaphore.NewWeighted(int64(cmp.Or(max(opts.Parallel, 0), reads)))
	for i := range r.archives {
		r.archives[i] = make(chan opened, 1)
	}
	r.running.Go(r.run)
	return r
}

// archive returns the channel of the archive at index i. It belongs to one archive at a time: objects
// limits the archives that were begun and not received.
func (r *aheadReader) archive(i int) chan opened { return r.archives[i%len(r.archives)] }

// yieldImports yields the objects. After close it yields an error.
func (r *aheadReader) yieldImports(yield func(Import, error) bool) {
	for i := range r.infos {
		var archive *aheadArchive
		err := r.guard.Call(func() (err error) {
			archive, err = r.nextArchive(i)
			return err
		})
		if err != nil {
			yield(Import{}, err)
			return
		}
		object := withoutUltimate(cmp.Or(archive.opened.info, archive.info), archive)
		object.Refresh = func(ctx context.Context) *PathInfo { return r.refresh(ctx, archive.info) }
		more := yield(object, nil)
		if !archive.kept {
			archive.Close()
		}
		if !more {
			return
		}
	}
}

// nextArchive waits for the archive at index i.
func (r *aheadReader) nextArchive(i int) (*aheadArchive, error) {
	info := r.infos[i]
	if r.progress != nil {
		r.progress(info)
	}
	var o opened
	select {
	case o = <-r.archive(i):
		r.taken.Add(1)
		r.objects.Release(1)
	case <-r.ctx.Done():
		o.err = context.Cause(r.ctx)
	}
	if o.err == nil {
		if err := r.checkReferences(info); err != nil { // the other object failed while this one was read ahead
			o.nar.Close()
			o.cancel()
			o.err = err
		}
	}
	archive := &aheadArchive{opened: o, reader: r, info: info, restarted: o.retried}
	switch {
	case o.err == nil && isSmall(info):
		r.failures.Succeed()
	case o.err != nil && r.ctx.Err() != nil:
		return nil, context.Cause(r.ctx)
	case o.err != nil:
		r.recordFailure(info, o.err, o.retried)
		archive.opened = opened{nar: failedArchive{o.err}, cancel: func() {}}
		archive.restarted, archive.recorded = true, true
	}
	r.mu.Lock()
	ended, tooMany := r.ended, r.tooMany
	r.yielded[archive] = true
	r.mu.Unlock()
	if ended || tooMany != nil {
		archive.Close()
		return nil, cmp.Or(tooMany, parallel.ErrEnded)
	}
	return archive, nil
}

// withoutUltimate returns an object for another store. Ultimate is cleared, since it is only
// meaningful in the source.
func withoutUltimate(info *PathInfo, nar io.Reader) Import {
	clone := *info
	clone.Ultimate = false
	return Import{Info: &clone, NAR: nar}
}

// releaseArchive releases the memory or the slot of an archive.
func (r *aheadReader) releaseArchive(a *aheadArchive) {
	r.mu.Lock()
	delete(r.yielded, a)
	r.mu.Unlock()
	if isSmall(a.info) {
		r.memory.Release(int64(a.info.NARSize))
	} else {
		r.largeSlots.Release(1)
	}
}

// checkReferences returns an error if an object refers to a failed one, which is therefore not
// valid.
func (r *aheadReader) checkReferences(info *PathInfo) error {
	if r.repair { // a path that could not be repaired is still valid
		return nil
	}
	return r.failures.CheckReferences(info)
}

// close ends reading, closes all archives except those that the next call may use, and waits
// until all goroutines have ended.
func (r *aheadReader) close() {
	r.cancel()
	r.mu.Lock()
	r.ended = true
	lent := slices.Collect(maps.Keys(r.yielded))
	r.mu.Unlock()
	for _, a := range lent {
		a.Close()
	}
	r.running.Wait()
	first := int(r.taken.Load())
	for i := first; i < min(len(r.infos), first+len(r.archives)); i++ {
		select {
		case o := <-r.archive(i):
			if o.inMemory {
				r.failures.Succeed()
				r.ahead[r.infos[i]] = o
			} else if o.nar != nil {
				r.guard.Call(o.nar.Close)
				o.cancel()
			} else if !o.cancelled { // it would fail again the next time
				r.recordFailure(r.infos[i], o.err, o.retried)
			}
		default:
		}
	}
}

// run starts all reads.
func (r *aheadReader) run() {
	most := 1
	if r.manyReader != nil {
		most = batchObjects
	}
	for next := 0; next < len(r.infos); {
		if o, ok := r.ahead[r.infos[next]]; ok {
			if r.objects.Acquire(r.ctx, 1) != nil || r.memory.Acquire(r.ctx, int64(r.infos[next].NARSize)) != nil {
				return
			}
			delete(r.ahead, r.infos[next])
			r.archive(next) <- o
			next++
			continue
		}
		from, size := next, uint64(0)
		for next < len(r.infos) && next-from < most && size < batchBytes && isSmall(r.infos[next]) {
			if _, ok := r.ahead[r.infos[next]]; ok {
				break
			}
			size += r.infos[next].NARSize
			next++
		}
		large := next == from
		if large {
			next++
		}
		if r.objects.Acquire(r.ctx, int64(next-from)) != nil {
			return
		}
		if large {
			if r.largeSlots.Acquire(r.ctx, 1) != nil {
				return
			}
		} else if r.memory.Acquire(r.ctx, int64(size)) != nil {
			return
		}
		if r.readSlots.Acquire(r.ctx, 1) != nil {
			return
		}
		to := next
		r.running.Go(func() {
			defer r.readSlots.Release(1)
			r.guard.Call(func() error {
				if large {
					r.archive(from) <- r.openLarge(r.ctx, r.infos[from])
				} else {
					r.readBatch(r.ctx, from, to)
				}
				return nil
			})
		})
	}
}
