package store

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"pix/storepath"
)

// CopyOptions say how objects are copied. Nil and the zero values are useful.
type CopyOptions struct {
	AddOptions

	// Substitute lets the destination try first to get what it has not from its
	// substituters.
	Substitute bool

	// Parallel is how many reads of archives from the source go on at once; 0 is 16. Each may be
	// of many small archives.
	Parallel int

	// Quiet tells the handler of the context nothing of the copy: the source does that itself.
	Quiet bool

	// Progress is called, by one goroutine at a time, with each object before it is
	// added, in the order in which they are. It is not called any more when the copy has returned.
	Progress func(info *PathInfo)
}

// Copy copies the roots and all that they refer to from one store to another, but for
// what is there already, and returns what was missing, in the order in which it was added:
// each object after those that it refers to. Signatures go with it. The source must be a
// [NARReader], the destination a [NARAdder] or [MultipleAdder].
//
// Archives are read ahead, many at once, so that a distant source costs few round trips; in
// memory there are 32 MiB of them at most. A destination that keeps them ([Keepable]) also takes
// many in at once. If an error ends it, those objects that were added stay. The handler of ctx is
// told how far it is: an activity of type [activity.CopyPaths], with one of type
// [activity.CopyPath] for each object.
//
// When it returns, also after an error or a panic of a store, nothing of it goes on: neither
// goroutines nor archives of the source are left, and no callback is called any more. If the source,
// Progress or the handler panics, Copy panics with a [*PanicError].
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
	return missing, CopyObjects(ctx, dst, src, missing, opts)
}

// CopyObjects copies objects as [Copy] does, these and no others, in their order: each must come
// after those that it refers to and that are not there.
func CopyObjects(ctx context.Context, dst, src Store, objects []*PathInfo, opts *CopyOptions) error {
	if opts == nil {
		opts = new(CopyOptions)
	}
	return withArchives(ctx, src, objects, opts, func(ctx context.Context, imports iter.Seq2[Import, error]) error {
		return AddMultiple(ctx, dst, len(objects), imports, &opts.AddOptions)
	})
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
