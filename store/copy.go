package store

import (
	"context"
	"errors"
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
	// added, in the order in which they are. An object that has to be tried again comes a second time.
	// It is not called any more when the copy has returned.
	Progress func(info *PathInfo)
}

// Copy copies the closure of the roots from one store to another, and returns the objects that were
// missing there, in the order in which it added them: each object after the objects that it refers to.
// Signatures go with it. The source must be a [NARReader], the destination a [NARAdder] or
// [MultipleAdder].
//
// Archives are read ahead, many at once, so that a distant source costs few round trips; in
// memory there are 32 MiB of them at most. A destination that keeps them ([Keepable]) also takes
// many in at once. The handler of ctx is
// told how far it is: an activity of type [activity.CopyPaths], with one of type
// [activity.CopyPath] for each object.
//
// If an object cannot be copied, the others are, except those that refer to it; the error is a [*CopyError]
// then. After 16 failures in a row, the rest is not tried. Copy returns the objects that were added even
// if there is an error.
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
	err = CopyObjects(ctx, dst, src, missing, opts)
	if failed, ok := errors.AsType[*CopyError](err); ok {
		missing = failed.Copied
	} else if err != nil {
		missing = nil
	}
	return missing, err
}

// CopyObjects copies objects as [Copy] does, these and no others, in their order: each must come
// after those that it refers to and that are not there.
func CopyObjects(ctx context.Context, dst, src Store, objects []*PathInfo, opts *CopyOptions) error {
	if opts == nil {
		opts = new(CopyOptions)
	}
	c := newCopying(dst, src, objects, opts)
	ahead := make(readAhead)
	for some := objects; len(some) > 0; {
		read, err := withArchives(ctx, src, some, ahead, opts, func(ctx context.Context, imports iter.Seq2[Import, error]) error {
			return AddMultiple(ctx, dst, len(some), imports, &opts.AddOptions)
		})
		if err == nil {
			for _, info := range some {
				delete(c.absent, info.Path)
			}
			break
		}
		if ctx.Err() != nil {
			if !errors.Is(err, ctx.Err()) { // it is the consequence
				err = context.Cause(ctx)
			}
			return err
		}
		if some, err = c.settle(ctx, some, read, err); err != nil {
			return c.result(err)
		}
		ahead.keepOnly(some)
	}
	return c.result(nil)
}

// MissingFrom returns what src knows of those paths in the closure of the roots that are not
// valid in dst, each after those that it refers to. With substitute, dst tries first to get
// them from its substituters. Of a destination that is a [CompletenessQuerier], also the paths are missing
// whose contents it has lost.
func MissingFrom(ctx context.Context, dst, src Store, roots []storepath.Path, substitute bool) ([]*PathInfo, error) {
	infos, err := closureInfos(ctx, src, roots)
	if err != nil {
		return nil, err
	}
	paths := pathsOf(infos)
	valid, err := completePaths(ctx, dst, paths, substitute)
	if err != nil {
		return nil, err
	}
	return SortByReferences(withoutPaths(infos, valid))
}

// closureInfos returns the infos of a closure. If a reference is not valid in src, the info of its referrer may
// be an old one that src remembers, or have come damaged; then src is asked for it again.
func closureInfos(ctx context.Context, src Store, roots []storepath.Path) (infos []*PathInfo, err error) {
	const most = 16
	for again := 0; ; again++ {
		infos = infos[:0]
		for info, failed := range Closure(ctx, src, roots...) {
			if err = failed; err == nil {
				infos = append(infos, info)
			}
		}
		lost, notFound := errors.AsType[*NotFoundError](err)
		if !notFound || again == most || !refreshReferrers(ctx, src, infos, lost.Path) {
			return infos, err
		}
	}
}

// refreshReferrers makes src forget infos that refer to a path, and reports whether another one came of that.
func refreshReferrers(ctx context.Context, src Store, infos []*PathInfo, path storepath.Path) (changed bool) {
	r, ok := As[Refresher](src)
	if !ok {
		return false
	}
	for _, info := range infos {
		if slices.Contains(info.References, path) {
			fresh, err := r.RefreshPathInfo(ctx, info.Path)
			changed = changed || err == nil && !fresh.sameObject(info)
		}
	}
	return changed
}

// completePaths returns the paths that are valid in a store and, if it can tell, whose contents it
// still has. They are sorted.
func completePaths(ctx context.Context, s Store, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	slices.Sort(paths)
	valid, err := s.QueryValidPaths(ctx, paths, substitute)
	if err != nil {
		return nil, err
	}
	if q, ok := As[CompletenessQuerier](s); ok {
		if valid, err = q.QueryCompletePaths(ctx, valid); err != nil {
			return nil, err
		}
	}
	slices.Sort(valid)
	return valid, nil
}

// withoutPaths returns the infos of other paths than some, which are sorted.
func withoutPaths(infos []*PathInfo, some []storepath.Path) []*PathInfo {
	return slices.DeleteFunc(slices.Clone(infos), func(info *PathInfo) bool {
		_, found := slices.BinarySearch(some, info.Path)
		return found
	})
}

func pathsOf(infos []*PathInfo) []storepath.Path {
	paths := make([]storepath.Path, len(infos))
	for i, info := range infos {
		paths[i] = info.Path
	}
	return paths
}
