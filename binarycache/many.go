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
// come before it, so that somebody can always go on.
type batch struct {
	store  *Store
	ctx    context.Context
	group  *parallel.Group
	repair bool
	added  map[storepath.Path]chan struct{} // closed when a path is there
}

// AddMultipleToStore adds n objects, as [Store.AddToStoreNAR] does, several at once: small ones, and
// those that can be kept ([store.Keepable]). Those that others refer to come first. Those that were
// added before an error stay.
func (s *Store) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	group, groupCtx := parallel.WithContext(ctx, atOnce())
	defer group.Join() // also if the sequence panics
	defer cancel()
	b := &batch{s, groupCtx, group, opts != nil && opts.Repair, make(map[storepath.Path]chan struct{})}
	err := b.take(n, objects)
	if err != nil {
		cancel()
	}
	// If one fails, the others are told to end. The first error is what matters.
	if failed := group.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return failed
	}
	return err
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

// add adds an object, or has it added if it is small or can be kept. Else its archive was read
// afterwards.
func (b *batch) add(object store.Import) error {
	info := *object.Info
	wanted, err := b.store.isWanted(b.ctx, &info, b.repair)
	if err != nil || !wanted {
		return err
	}
	var before []chan struct{}
	for _, ref := range info.References {
		if added := b.added[ref]; added != nil && ref != info.Path {
			before = append(before, added)
		}
	}
	added := make(chan struct{})
	b.added[info.Path] = added
	work := func(archive io.Reader) error {
		err := b.store.add(b.ctx, &info, archive, b.repair, func() error { return b.wait(before) })
		if err == nil {
			close(added)
		}
		return err
	}
	if archive, ok := object.NAR.(store.Keepable); ok {
		b.group.Go(store.ReadKept(b.ctx, archive, work))
		return nil
	}
	if info.NARSize == 0 || info.NARSize > smallArchive {
		return work(object.NAR)
	}
	archive := bytes.NewBuffer(make([]byte, 0, info.NARSize+bytes.MinRead))
	if _, err := archive.ReadFrom(io.LimitReader(&contextReader{b.ctx, object.NAR}, int64(info.NARSize)+1)); err != nil {
		return fmt.Errorf("adding '%s' to the binary cache: %w", info.Path, err)
	}
	b.group.Go(func() error { return work(archive) })
	return nil
}

// wait waits until those paths are there.
func (b *batch) wait(paths []chan struct{}) error {
	for _, added := range paths {
		select {
		case <-added:
		case <-b.ctx.Done():
			return ended(b.ctx)
		}
	}
	return nil
}
