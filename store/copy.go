package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"golang.org/x/sync/semaphore"

	"pix/storepath"
)

// CopyOptions say how objects are copied. Nil and the zero values are useful.
type CopyOptions struct {
	AddOptions

	// Substitute lets the destination try first to get what it has not from its
	// substituters.
	Substitute bool

	// Parallel is how many archives are read from the source at once; 0 is 16.
	Parallel int

	// Progress is called, by one goroutine at a time, with each object before it is
	// added, in the order in which they are.
	Progress func(info *PathInfo)
}

const (
	// smallArchive is the size in bytes up to which an archive is read before its turn.
	smallArchive = 1 << 20
	// archivesAhead is how many bytes of archives are held in memory at most.
	archivesAhead = 32 << 20
)

// Copy copies the roots and all that they refer to from one store to another, but for
// what is there already, and returns what was missing, in the order in which it was added:
// each object after those that it refers to. Signatures go with it. The source must be a
// [NARReader], the destination a [NARAdder] or [MultipleAdder].
//
// Small archives are read ahead, many at once, so that a distant source costs few round
// trips. If an error ends it, those objects that were added stay.
func Copy(ctx context.Context, dst, src Store, roots []storepath.Path, opts *CopyOptions) ([]*PathInfo, error) {
	if dst.Dir() != src.Dir() {
		return nil, fmt.Errorf("nothing can be copied from a store in %s to one in %s", src.Dir(), dst.Dir())
	}
	if opts == nil {
		opts = new(CopyOptions)
	}
	missing, err := MissingFrom(ctx, dst, src, roots, opts.Substitute)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what is read ahead
	objects := readAhead(ctx, src, missing, opts)
	return missing, AddMultiple(ctx, dst, len(missing), objects, &opts.AddOptions)
}

// MissingFrom returns what src knows of those paths in the closure of the roots that are not
// valid in dst, each after those that it refers to. With substitute, dst tries first to get
// them from its substituters.
func MissingFrom(ctx context.Context, dst, src Store, roots []storepath.Path, substitute bool) ([]*PathInfo, error) {
	var infos []*PathInfo
	var paths []storepath.Path
	for info, err := range Closure(ctx, src, roots...) {
		if err != nil {
			return nil, err
		}
		infos, paths = append(infos, info), append(paths, info.Path)
	}
	slices.Sort(paths)
	valid, err := dst.QueryValidPaths(ctx, paths, substitute)
	if err != nil {
		return nil, err
	}
	slices.Sort(valid)
	infos = slices.DeleteFunc(infos, func(info *PathInfo) bool {
		_, there := slices.BinarySearch(valid, info.Path)
		return there
	})
	return SortByReferences(infos)
}

// An opened is an archive, or why there is none.
type opened struct {
	nar io.ReadCloser
	err error
}

// readAhead yields objects with their archives, which are opened and, if they are small,
// read by other goroutines before. These end when the iteration does.
func readAhead(ctx context.Context, src Store, infos []*PathInfo, opts *CopyOptions) iter.Seq2[Import, error] {
	return func(yield func(Import, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		archives := make([]chan opened, len(infos))
		for i := range archives {
			archives[i] = make(chan opened, 1)
		}
		room := semaphore.NewWeighted(archivesAhead)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			readSmall(ctx, src, infos, archives, room, opts.Parallel)
		}()
		defer func() { cancel(); <-ended }()
		for i, info := range infos {
			if opts.Progress != nil {
				opts.Progress(info)
			}
			archive := take(ctx, src, info, archives[i])
			if archive.err != nil {
				yield(Import{}, fmt.Errorf("copying '%s': %w", info.Path, archive.err))
				return
			}
			goOn := yield(copied(info, archive.nar), nil)
			archive.nar.Close()
			if isSmall(info) {
				room.Release(int64(info.NARSize))
			}
			if !goOn {
				return
			}
		}
	}
}

// copied returns an object as the other store may take it: that the source has made it
// itself is nothing to the destination.
func copied(info *PathInfo, nar io.Reader) Import {
	clone := *info
	clone.Ultimate = false
	return Import{Info: &clone, NAR: nar}
}

func isSmall(info *PathInfo) bool { return 0 < info.NARSize && info.NARSize <= smallArchive }

// take returns an archive whose turn it is.
func take(ctx context.Context, src Store, info *PathInfo, ahead <-chan opened) opened {
	if isSmall(info) {
		select {
		case o := <-ahead:
			return o
		case <-ctx.Done():
			return opened{err: context.Cause(ctx)}
		}
	}
	nar, err := ReadNAR(ctx, src, info.Path)
	return opened{nar, err}
}

// readSmall reads the small archives, in their order, as far ahead as there is room.
func readSmall(ctx context.Context, src Store, infos []*PathInfo, archives []chan opened, room *semaphore.Weighted, parallel int) {
	if parallel <= 0 {
		parallel = 16
	}
	slots := semaphore.NewWeighted(int64(parallel))
	for i, info := range infos {
		if !isSmall(info) {
			continue
		}
		if room.Acquire(ctx, int64(info.NARSize)) != nil || slots.Acquire(ctx, 1) != nil {
			break
		}
		go func() {
			defer slots.Release(1)
			archives[i] <- readWhole(ctx, src, info)
		}()
	}
	slots.Acquire(context.WithoutCancel(ctx), int64(parallel)) // they have all ended
}

// readWhole reads an archive into memory. One that is longer than its info says is no
// more trusted than one that is damaged.
func readWhole(ctx context.Context, src Store, info *PathInfo) opened {
	archive, err := ReadNAR(ctx, src, info.Path)
	if err != nil {
		return opened{err: err}
	}
	defer archive.Close()
	b := make([]byte, 0, info.NARSize+bytes.MinRead)
	buf := bytes.NewBuffer(b)
	n, err := buf.ReadFrom(io.LimitReader(archive, int64(info.NARSize)+1))
	if err == nil && uint64(n) != info.NARSize {
		err = fmt.Errorf("its archive has not the size of %d bytes that it should have", info.NARSize)
	}
	return opened{io.NopCloser(buf), err}
}
