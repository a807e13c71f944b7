package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
)

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
	if err := r.checkReferences(info); err != nil {
		return opened{err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	nar, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		ended := ctx.Err() != nil
		cancel()
		return opened{err: err, ended: ended}
	}
	return opened{nar: nar, cancel: cancel}
}

// readOne reads a small archive into memory, a second time if it is damaged and that may help.
func (r *aheadReader) readOne(ctx context.Context, info *PathInfo) opened {
	if err := r.checkReferences(info); err != nil {
		return opened{err: err}
	}
	if r.bad.Load() >= maxBadAhead {
		return opened{err: errBadAhead}
	}
	whole, err := r.readSmall(ctx, info)
	twice := worthRetrying(err) && ctx.Err() == nil
	fresh := info
	if twice {
		if fresh = cmp.Or(r.refresh(ctx, info), info); !isSmall(fresh) {
			fresh = info
		}
		whole, err = r.readSmall(ctx, fresh)
	}
	if err != nil {
		r.bad.Add(1)
		return opened{err: err, twice: twice, ended: ctx.Err() != nil}
	}
	r.bad.Store(0)
	o := inMemory(whole)
	o.info = fresh
	return o
}

// refresh returns the current info of an object, or nil if it is the same or the source does not remember infos.
func (r *aheadReader) refresh(ctx context.Context, info *PathInfo) (fresh *PathInfo) {
	source, ok := As[Refresher](r.src)
	if !ok {
		return nil
	}
	r.guard.Call(func() error {
		current, err := source.RefreshPathInfo(ctx, info.Path)
		if err == nil && current.Path == info.Path && !current.sameObject(info) {
			fresh = copied(current, nil).Info
		}
		return err
	})
	return fresh
}

// errBadAhead is why a small archive is not read.
var errBadAhead = fmt.Errorf("not tried, because %d archives in a row could not be read", maxBadAhead)

func (r *aheadReader) readSmall(ctx context.Context, info *PathInfo) ([]byte, error) {
	archive, err := ReadNAR(ctx, r.src, info.Path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return readWhole(archive, info)
}

// inMemory returns an archive that was read.
func inMemory(whole []byte) opened {
	return opened{nar: io.NopCloser(bytes.NewReader(whole)), cancel: func() {}, inMemory: true}
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
