package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// Many objects are registered in one transaction, but not so many that much is lost where the
// rest never comes, and not more than there may be locks.
const (
	batchObjects = 256
	batchBytes   = 64 << 20 // of archives
	smallArchive = 1 << 20  // up to this size in bytes it is read into memory
)

// AddMultipleToStore adds n objects, each as [Store.AddToStoreNAR] does. Small ones and those that
// can be kept ([store.Keepable]) are restored in parallel, and many are made valid at once. Those that are valid
// when there is an error stay.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if opts == nil {
		opts = new(store.AddOptions)
	}
	b := s.newBatch(ctx, opts)
	defer func() { b.abandon() }()
	got := 0
	for object, err := range objects {
		if err == nil {
			got++
			err = context.Cause(b.ctx)
		}
		if err == nil {
			err = s.checkImport(object.Info, opts)
		}
		if err == nil {
			err = b.add(object)
		}
		if err == nil && b.isFull() {
			if err = b.finish(); err == nil {
				b = s.newBatch(ctx, opts)
			}
		}
		if err != nil {
			return b.failed(err)
		}
	}
	if got != n {
		return fmt.Errorf("%d objects came instead of %d", got, n)
	}
	return b.finish()
}

// A batch is some objects that are to become valid together. Whoever adds them holds the locks
// of all of them meanwhile.
type batch struct {
	s      *Store
	opts   *store.AddOptions
	ctx    context.Context // ends with the first error
	end    context.CancelFunc
	parent context.Context
	work   *errgroup.Group

	infos []*store.PathInfo
	locks []*pathLock
	paths map[storepath.Path]bool
	bytes uint64
}

func (s *Store) newBatch(ctx context.Context, opts *store.AddOptions) *batch {
	b := &batch{s: s, opts: opts, parent: ctx, paths: make(map[storepath.Path]bool)}
	ctx, b.end = context.WithCancel(ctx)
	b.work, b.ctx = errgroup.WithContext(ctx)
	b.work.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	return b
}

func (b *batch) isFull() bool { return len(b.infos) >= batchObjects || b.bytes >= batchBytes }

// add restores an object, or has it restored while the next is read.
func (b *batch) add(object store.Import) error {
	if wanted, err := b.take(object.Info); err != nil || !wanted {
		return err
	}
	info := object.Info
	b.infos, b.bytes = append(b.infos, info), b.bytes+info.NARSize
	if archive, ok := object.NAR.(store.Keepable); ok {
		kept := archive.Keep()
		b.work.Go(func() error { return b.putKept(info, kept) })
		return nil
	}
	if info.NARSize > smallArchive {
		return b.put(info, object.NAR)
	}
	// The archive may be longer than its info says. It is not read further than that.
	archive := bytes.NewBuffer(make([]byte, 0, info.NARSize))
	if _, err := nar.Copy(&limitedWriter{archive, info.NARSize}, object.NAR); err != nil {
		if errors.Is(err, errTooLong) {
			return &store.MismatchError{What: "size", Path: info.Path, Specified: fmt.Sprint(info.NARSize), Got: "more"}
		}
		return err
	}
	b.work.Go(func() error { return b.put(info, archive) })
	return nil
}

var errTooLong = errors.New("it is too long")

// A limitedWriter fails when more is written than fits.
type limitedWriter struct {
	io.Writer
	left uint64
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > w.left {
		return 0, errTooLong
	}
	w.left -= uint64(len(p))
	return w.Writer.Write(p)
}

// take takes the lock of a path, and reports whether its object is wanted: whether it is not
// valid and not in the batch already.
func (b *batch) take(info *store.PathInfo) (wanted bool, err error) {
	path := info.Path
	if b.paths[path] {
		return false, nil
	}
	if err := b.s.addTempRoots(b.ctx, path); err != nil {
		return false, err
	}
	if valid, err := b.s.IsValidPath(b.ctx, path); err != nil || valid && !b.opts.Repair {
		return false, err
	}
	l, err := b.lock(path)
	if err != nil {
		return false, err
	}
	valid, err := b.s.IsValidPath(b.ctx, path)
	if err != nil || valid && !b.opts.Repair {
		l.release()
		return false, err
	}
	b.locks = append(b.locks, l)
	b.paths[path] = true
	return true, nil
}

// lock takes the lock of a path. Who waits for a lock holds no other: two who each wait for what
// the other has would wait for ever. So if somebody else has it, what the batch has so far is
// made valid first.
func (b *batch) lock(path storepath.Path) (*pathLock, error) {
	l, err := b.s.tryLockPath(path)
	if l != nil || err != nil {
		return l, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	*b = *b.s.newBatch(b.parent, b.opts)
	return b.s.lockPath(b.ctx, path)
}

// put makes the object of a path that is locked.
func (b *batch) put(info *store.PathInfo, archive io.Reader) error {
	return b.s.put(b.ctx, info.Path, b.opts.Repair, func(root *os.Root, name string) error {
		return restore(b.ctx, root, name, info, archive)
	})
}

// putKept makes the object of an archive that others are read beside. Its reading ends with the
// batch.
func (b *batch) putKept(info *store.PathInfo, archive io.ReadCloser) error {
	defer archive.Close()
	defer context.AfterFunc(b.ctx, func() { archive.Close() })()
	return b.put(info, archive)
}

// finish waits for all objects and makes them valid.
func (b *batch) finish() error {
	err := b.work.Wait()
	b.end()
	if err == nil && len(b.infos) > 0 {
		err = b.s.registerValidPaths(b.parent, b.infos...)
	}
	if err != nil {
		return err
	}
	b.infos = nil
	b.release()
	return nil
}

// failed returns why a batch ends: err, unless that is the consequence of an earlier error.
func (b *batch) failed(err error) error {
	if b.ctx.Err() == nil {
		b.end()
		b.work.Wait()
		return err
	}
	if working := b.work.Wait(); working != nil {
		return working
	}
	return err
}

// abandon removes what is not valid, and gives the locks back.
func (b *batch) abandon() {
	b.end()
	b.work.Wait()
	for _, info := range b.infos {
		b.s.removeUnlessValid(b.parent, info.Path)
	}
	b.release()
}

func (b *batch) release() {
	for _, l := range b.locks {
		l.release()
	}
	b.locks = nil
}
