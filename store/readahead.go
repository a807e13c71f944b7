package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
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
}

// readAhead yields objects with their archives, which are opened and, if they are small,
// read by other goroutines before. These end when the iteration does.
func readAhead(ctx context.Context, src Store, infos []*PathInfo, opts *CopyOptions) iter.Seq2[Import, error] {
	return func(yield func(Import, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		r := newAheadReader(src, infos, opts.Parallel)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.run(ctx)
		}()
		var kept sync.WaitGroup
		whole := false
		defer func() {
			if !whole {
				cancel() // what was kept is wanted no more
			}
			kept.Wait()
			cancel()
			<-ended
			r.closeRest()
		}()
		for i, info := range infos {
			if opts.Progress != nil {
				opts.Progress(info)
			}
			o := r.take(ctx, i)
			if o.err != nil {
				yield(Import{}, fmt.Errorf("copying '%s': %w", info.Path, o.err))
				return
			}
			kept.Add(1)
			archive := &aheadArchive{opened: o, used: func() { r.used(info); kept.Done() }}
			goOn := yield(copied(info, archive), nil)
			if !archive.kept {
				archive.Close()
			}
			if !goOn {
				return
			}
		}
		whole = true
	}
}

// An aheadReader reads the archives of objects, in their order, as far ahead as there is room.
type aheadReader struct {
	src      Store
	infos    []*PathInfo
	archives []chan opened // one for each info
	parallel int64
	many     ManyNARReader // the source, if it is one

	room  *semaphore.Weighted // in bytes, of small archives
	large *semaphore.Weighted // open archives
	reads *semaphore.Weighted // batches under way
}

func newAheadReader(src Store, infos []*PathInfo, parallel int) *aheadReader {
	if parallel <= 0 {
		parallel = parallelReads
	}
	r := &aheadReader{
		src: src, infos: infos, archives: make([]chan opened, len(infos)), parallel: int64(parallel),
		room:  semaphore.NewWeighted(archivesAhead),
		large: semaphore.NewWeighted(largeOpen()),
		reads: semaphore.NewWeighted(int64(parallel)),
	}
	r.many, _ = As[ManyNARReader](src)
	for i := range r.archives {
		r.archives[i] = make(chan opened, 1)
	}
	return r
}

// take waits for an archive whose turn it is.
func (r *aheadReader) take(ctx context.Context, i int) opened {
	select {
	case o := <-r.archives[i]:
		return o
	case <-ctx.Done():
		return opened{err: context.Cause(ctx)}
	}
}

// used makes room for others after an object.
func (r *aheadReader) used(info *PathInfo) {
	if isSmall(info) {
		r.room.Release(int64(info.NARSize))
	} else {
		r.large.Release(1)
	}
}

// closeRest closes the archives that were opened, and are not wanted any more.
func (r *aheadReader) closeRest() {
	for _, archive := range r.archives {
		select {
		case o := <-archive:
			if o.nar != nil {
				o.nar.Close()
				o.cancel()
			}
		default:
		}
	}
}

// run starts reading everything, and returns when all that was started has ended.
func (r *aheadReader) run(ctx context.Context) {
	defer func() { r.reads.Acquire(context.WithoutCancel(ctx), r.parallel) }()
	most := 1
	if r.many != nil {
		most = batchObjects
	}
	for next := 0; next < len(r.infos); {
		from, size := next, uint64(0)
		for next < len(r.infos) && next-from < most && size < batchBytes && isSmall(r.infos[next]) {
			size += r.infos[next].NARSize
			next++
		}
		if next == from { // a large one
			next++
			if r.large.Acquire(ctx, 1) != nil {
				return
			}
		} else if r.room.Acquire(ctx, int64(size)) != nil {
			return
		}
		if r.reads.Acquire(ctx, 1) != nil {
			return
		}
		to := next
		go func() {
			defer r.reads.Release(1)
			if size == 0 {
				r.archives[from] <- r.open(ctx, r.infos[from])
				return
			}
			r.readBatch(ctx, from, to)
		}()
	}
}

// readBatch reads small archives into memory: at once, if the source can do that, and those
// that it failed to give in that way one by one, so that each has its own error.
func (r *aheadReader) readBatch(ctx context.Context, from, to int) {
	if r.many != nil {
		for archive, err := range r.many.NARsFromPaths(ctx, r.infos[from:to]) {
			var whole []byte
			if err == nil {
				whole, err = readWhole(archive, r.infos[from])
			}
			if err != nil {
				break
			}
			r.archives[from] <- inMemory(whole)
			from++
		}
	}
	for ; from < to; from++ {
		r.archives[from] <- r.readOne(ctx, r.infos[from])
	}
}

// open opens a large archive.
func (r *aheadReader) open(ctx context.Context, info *PathInfo) opened {
	ctx, cancel := context.WithCancel(ctx)
	nar, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		cancel()
	}
	return opened{nar, cancel, err}
}

// inMemory returns an archive that was read.
func inMemory(whole []byte) opened {
	return opened{nar: io.NopCloser(bytes.NewReader(whole)), cancel: func() {}}
}

func (r *aheadReader) readOne(ctx context.Context, info *PathInfo) opened {
	archive, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		return opened{err: err}
	}
	defer archive.Close()
	whole, err := readWhole(archive, info)
	if err != nil {
		return opened{err: err}
	}
	return inMemory(whole)
}

// readWhole reads an archive into memory. One that is longer than its info says is no
// more trusted than one that is damaged.
func readWhole(archive io.Reader, info *PathInfo) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, info.NARSize+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(archive, int64(info.NARSize)+1))
	if err == nil && uint64(n) != info.NARSize {
		err = fmt.Errorf("its archive has not the size of %d bytes that it should have", info.NARSize)
	}
	return buf.Bytes(), err
}
