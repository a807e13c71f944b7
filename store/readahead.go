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
	// smallArchive is the size in bytes up to which an archive is read before its turn. Of one
	// that is larger only the beginning is on its way before.
	smallArchive = 1 << 20
	// archivesAhead is how many bytes of archives are held in memory at most.
	archivesAhead = 32 << 20
	// batchBytes and batchObjects are how much is asked for at once: enough for a distant source
	// to be busy until the next question comes.
	batchBytes   = 512 << 10
	batchObjects = 32
	// parallelReads is how many batches are read at once unless it is said otherwise.
	parallelReads = 16
	// maxBadAhead is the number of small archives in a row that cannot be read before no more are read ahead.
	maxBadAhead = 64
)

// largeOpen returns how many larger archives are open at once: as many as can be decoded, and one
// that is on its way.
func largeOpen() int64 { return int64(min(runtime.GOMAXPROCS(0), 8) + 1) }

func isSmall(info *PathInfo) bool { return 0 < info.NARSize && info.NARSize <= smallArchive }

// An opened is an archive, or why there is none.
type opened struct {
	nar    io.ReadCloser
	cancel context.CancelFunc // ends reading it
	err    error
	twice  bool      // it was read a second time
	info   *PathInfo // the current one, if the caller's is old
	ended  bool      // err only says that reading was ended

	inMemory bool // it is small, and was read
}

// A readAhead has archives that one call of [withArchives] has read and not used, for the next call. Their sizes
// count again when that call comes to them.
type readAhead map[*PathInfo]opened

// keepOnly drops the archives of other objects than some.
func (a readAhead) keepOnly(some []*PathInfo) {
	wanted := make(map[*PathInfo]bool, len(some))
	for _, info := range some {
		wanted[info] = true
	}
	maps.DeleteFunc(a, func(info *PathInfo, _ opened) bool { return !wanted[info] })
}

// withArchives calls use with a sequence of objects and their archives. Other goroutines open the
// archives ahead and, if they are small, read them. When withArchives returns, none of this is still
// running, even if use keeps the sequence on another goroutine, or panics.
//
// So code of the source and of the caller runs on goroutines of use, and on those that read ahead,
// and a guard runs it there: see [parallel.Guard].
//
// An object whose archive cannot be read is in the sequence, so that the others can be added: reading its
// archive returns why, and failed has it when withArchives has returned. So is an object that refers to it.
//
// It takes archives from ahead, and leaves those there that it has read and not used.
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
			defer report.end()
		}
		r = newAheadReader(ctx, guard, src, objects, ahead, opts)
		defer r.end()
		return use(ctx, report.objects(r.imports))
	}()
	guard.End()
	guard.Repanic()
	if _, said := errors.AsType[*AddError](err); err != nil && !said && r.tooMany != nil {
		err = r.tooMany // the destination has seen the first failure only
	}
	return r.readFailures(), err
}

// A readFailure says why the archive of an object could not be read.
type readFailure struct {
	err   error
	twice bool // it was read a second time
}

// readFailures returns the objects whose archives could not be read.
func (r *aheadReader) readFailures() map[storepath.Path]readFailure {
	failed := make(map[storepath.Path]readFailure, len(r.failures.failed))
	for _, f := range r.failures.failed {
		failed[f.Path] = readFailure{f.Err, r.twice[f.Path]}
	}
	return failed
}

// fail notes that the archive of an object could not be read.
func (r *aheadReader) fail(info *PathInfo, err error, twice bool) {
	tooMany := r.failures.Fail(info.Path, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.twice[info.Path] = twice
	if tooMany != nil {
		r.tooMany = tooMany
	}
}

// An aheadReader reads the archives of objects, in their order, as far ahead as there is room.
type aheadReader struct {
	src      Store
	infos    []*PathInfo
	progress func(*PathInfo)
	repair   bool
	many     ManyNARReader // the source, if it is one
	archives []chan opened // one for each info
	ahead    readAhead     // used by run, and by end when run has ended

	ctx     context.Context // of reading
	cancel  context.CancelFunc
	guard   *parallel.Guard
	running sync.WaitGroup // goroutines that read

	room  *semaphore.Weighted // in bytes, of small archives
	large *semaphore.Weighted // open archives
	reads *semaphore.Weighted // batches under way

	failures Failures     // of reading, of objects whose turn has come
	bad      atomic.Int64 // small archives in a row that could not be read ahead

	mu      sync.Mutex
	lent    map[*aheadArchive]bool  // those that were yielded, and not closed yet
	twice   map[storepath.Path]bool // failed archives that were read a second time
	tooMany error                   // not nil after so many failures that the rest is not tried
	ended   bool
}

// newAheadReader starts reading. Its owner must call end.
func newAheadReader(ctx context.Context, guard *parallel.Guard, src Store, infos []*PathInfo, ahead readAhead, opts *CopyOptions) *aheadReader {
	r := &aheadReader{
		src: src, infos: infos, ahead: ahead, progress: opts.Progress, repair: opts.Repair, archives: make([]chan opened, len(infos)), guard: guard,
		room:  semaphore.NewWeighted(archivesAhead),
		large: semaphore.NewWeighted(largeOpen()),
		reads: semaphore.NewWeighted(int64(cmp.Or(max(opts.Parallel, 0), parallelReads))),
		lent:  make(map[*aheadArchive]bool),
		twice: make(map[storepath.Path]bool),
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.many, _ = As[ManyNARReader](src)
	for i := range r.archives {
		r.archives[i] = make(chan opened, 1)
	}
	r.running.Go(r.run)
	return r
}

// imports yields the objects. After end it yields an error.
func (r *aheadReader) imports(yield func(Import, error) bool) {
	for i := range r.infos {
		var archive *aheadArchive
		err := r.guard.Call(func() (err error) {
			archive, err = r.next(i)
			return err
		})
		if err != nil {
			yield(Import{}, err)
			return
		}
		object := copied(cmp.Or(archive.opened.info, archive.info), archive)
		object.Refresh = func(ctx context.Context) *PathInfo { return r.refresh(ctx, archive.info) }
		goOn := yield(object, nil)
		if !archive.kept {
			archive.Close()
		}
		if !goOn {
			return
		}
	}
}

// next waits for an archive whose turn it is.
func (r *aheadReader) next(i int) (*aheadArchive, error) {
	info := r.infos[i]
	if r.progress != nil {
		r.progress(info)
	}
	var o opened
	select {
	case o = <-r.archives[i]:
	case <-r.ctx.Done():
		o.err = context.Cause(r.ctx)
	}
	if o.err == nil {
		if err := r.checkReferences(info); err != nil { // it failed while this one was read ahead
			o.nar.Close()
			o.cancel()
			o.err = err
		}
	}
	archive := &aheadArchive{opened: o, reader: r, info: info, restarted: o.twice}
	switch {
	case o.err == nil && isSmall(info):
		r.failures.Succeed()
	case o.err != nil && r.ctx.Err() != nil:
		return nil, context.Cause(r.ctx)
	case o.err != nil:
		r.fail(info, o.err, o.twice)
		archive.opened = opened{nar: failedArchive{o.err}, cancel: func() {}}
		archive.restarted, archive.noted = true, true
	}
	r.mu.Lock()
	ended, tooMany := r.ended, r.tooMany
	r.lent[archive] = true
	r.mu.Unlock()
	if ended || tooMany != nil {
		archive.Close()
		return nil, cmp.Or(tooMany, parallel.ErrEnded)
	}
	return archive, nil
}

// copied returns an object as the other store may take it: that the source has made it
// itself is nothing to the destination.
func copied(info *PathInfo, nar io.Reader) Import {
	clone := *info
	clone.Ultimate = false
	return Import{Info: &clone, NAR: nar}
}

// used lets other archives be read after an archive.
func (r *aheadReader) used(a *aheadArchive) {
	r.mu.Lock()
	delete(r.lent, a)
	r.mu.Unlock()
	if isSmall(a.info) {
		r.room.Release(int64(a.info.NARSize))
	} else {
		r.large.Release(1)
	}
}

// checkReferences returns an error if an object refers to one that has failed and is not valid therefore.
func (r *aheadReader) checkReferences(info *PathInfo) error {
	if r.repair { // what could not be repaired is still valid
		return nil
	}
	return r.failures.CheckReferences(info)
}

// end ends reading, closes all archives but those that the next call may use, and waits until no goroutine is
// left.
func (r *aheadReader) end() {
	r.cancel()
	r.mu.Lock()
	r.ended = true
	lent := slices.Collect(maps.Keys(r.lent))
	r.mu.Unlock()
	for _, a := range lent {
		a.Close()
	}
	r.running.Wait()
	for i, archive := range r.archives {
		select {
		case o := <-archive:
			if o.inMemory {
				r.failures.Succeed()
				r.ahead[r.infos[i]] = o
			} else if o.nar != nil {
				r.guard.Call(o.nar.Close)
				o.cancel()
			} else if !o.ended { // it would fail the next time, too
				r.fail(r.infos[i], o.err, o.twice)
			}
		default:
		}
	}
}

// run starts reading everything.
func (r *aheadReader) run() {
	most := 1
	if r.many != nil {
		most = batchObjects
	}
	for next := 0; next < len(r.infos); {
		if o, ok := r.ahead[r.infos[next]]; ok {
			if r.room.Acquire(r.ctx, int64(r.infos[next].NARSize)) != nil {
				return
			}
			delete(r.ahead, r.infos[next])
			r.archives[next] <- o
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
		if next == from { // a large one
			next++
			if r.large.Acquire(r.ctx, 1) != nil {
				return
			}
		} else if r.room.Acquire(r.ctx, int64(size)) != nil {
			return
		}
		if r.reads.Acquire(r.ctx, 1) != nil {
			return
		}
		to := next
		r.running.Go(func() {
			defer r.reads.Release(1)
			r.guard.Call(func() error {
				if size == 0 {
					r.archives[from] <- r.open(r.ctx, r.infos[from])
				} else {
					r.readBatch(r.ctx, from, to)
				}
				return nil
			})
		})
	}
}
