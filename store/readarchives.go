package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
)

// readBatch reads small archives into memory: all at once, if the source can do that. It reads
// the archives that failed in this way again one by one, so that each has its own error.
func (r *aheadReader) readBatch(ctx context.Context, from, to int) {
	if r.manyReader != nil {
		for archive, err := range r.manyReader.NARsFromPaths(ctx, r.infos[from:to]) {
			var whole []byte
			if err == nil {
				whole, err = readWhole(archive, r.infos[from])
			}
			if err != nil {
				break
			}
			r.archive(from) <- inMemory(whole)
			from++
		}
	}
	for ; from < to; from++ {
		r.archive(from) <- r.readOne(ctx, r.infos[from])
	}
}

// openLarge opens a large archive.
func (r *aheadReader) openLarge(ctx context.Context, info *PathInfo) opened {
	if err := r.checkReferences(info); err != nil {
		return opened{err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	nar, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		ended := ctx.Err() != nil
		cancel()
		return opened{err: err, cancelled: ended}
	}
	return opened{nar: nar, cancel: cancel}
}

// readOne reads a small archive into memory. It reads a damaged one a second time if that may
// help.
func (r *aheadReader) readOne(ctx context.Context, info *PathInfo) opened {
	if err := r.checkReferences(info); err != nil {
		return opened{err: err}
	}
	if r.limiter != nil {
		release, err := r.limiter.AcquireRead(ctx, info.Path)
		if err != nil {
			return opened{err: err, cancelled: ctx.Err() != nil}
		}
		defer release()
	}
	if r.badInRow.Load() >= maxBadAhead {
		return opened{err: errBadAhead}
	}
	whole, err := r.readSmall(ctx, info)
	twice := isRetryable(err) && ctx.Err() == nil
	fresh := info
	if twice {
		if fresh = cmp.Or(r.refresh(ctx, info), info); !isSmall(fresh) {
			fresh = info
		}
		whole, err = r.readSmall(ctx, fresh)
	}
	if err != nil {
		r.badInRow.Add(1)
		return opened{err: err, retried: twice, cancelled: ctx.Err() != nil}
	}
	r.badInRow.Store(0)
	o := inMemory(whole)
	o.info = fresh
	return o
}

// refresh returns the current info of an object, or nil if it has not changed or the source
// does not cache infos.
func (r *aheadReader) refresh(ctx context.Context, info *PathInfo) (fresh *PathInfo) {
	source, ok := As[Refresher](r.src)
	if !ok {
		return nil
	}
	r.guard.Call(func() error {
		current, err := source.RefreshPathInfo(ctx, info.Path)
		if err == nil && current.Path == info.Path && !current.sameObject(info) {
			fresh = withoutUltimate(current, nil).Info
		}
		return err
	})
	return fresh
}

// errBadAhead is the reason why a small archive is not read ahead.
var errBadAhead = fmt.Errorf("not tried, because %d archives in a row could not be read", maxBadAhead)

func (r *aheadReader) readSmall(ctx context.Context, info *PathInfo) ([]byte, error) {
	archive, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return readWhole(archive, info)
}

// inMemory returns an archive that was read into memory.
func inMemory(whole []byte) opened {
	return opened{nar: io.NopCloser(bytes.NewReader(whole)), cancel: func() {}, inMemory: true}
}

// readWhole reads an archive into memory. An archive with another size than its info is an
// error.
func readWhole(archive io.Reader, info *PathInfo) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, info.NARSize+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(archive, int64(info.NARSize)+1))
	if err == nil && uint64(n) != info.NARSize {
		err = fmt.Errorf("its archive does not have the expected size of %d bytes", info.NARSize)
	}
	return buf.Bytes(), err
}
