package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"pix/storepath"
)

// CopyOptions configure a copy. Nil and the zero values are useful.
type CopyOptions struct {
	AddOptions

	// Substitute makes the destination first try to substitute missing paths.
	Substitute bool

	// Parallel is the number of concurrent reads from the source. Each may be a batch of small
	// archives. 0 means 16, or for a [ReadLimiter] as many as it permits.
	Parallel int

	// Quiet suppresses the events of the copy. It is for sources that report them.
	Quiet bool

	// Progress is called with each object before it is added, in the order of the objects, by
	// one goroutine at a time. An object that is retried comes a second time. It is not called
	// after the copy has returned.
	Progress func(info *PathInfo)
}

// Copy copies the closure of the roots from one store to another. It returns the objects that
// it added, in the order of adding: references first. Signatures are copied, too. The source
// must be a [NARReader], the destination a [NARAdder] or [MultipleAdder].
//
// Many archives are read ahead at a time, so that a distant source needs few round trips. At
// most 32 MiB of them are in memory. A destination that keeps them ([Keepable]) also adds many
// at a time. The handler of ctx gets the progress: an activity of type [activity.CopyPaths],
// and in it one of type [activity.CopyPath] for each object.
//
// If an object cannot be copied, the others are copied, except those that refer to it. Then the
// error is a [*CopyError]. After 16 failures in a row, the rest is not tried. Copy returns the
// added objects even with an error.
//
// When Copy returns, even after an error or a panic of a store, none of its goroutines runs, no
// archive of the source is open, and no callback is called. If the source, Progress or the
// handler panics, Copy panics with a [*PanicError].
func Copy(ctx context.Context, dst, src Store, roots []storepath.Path, opts *CopyOptions) ([]*PathInfo, error) {
	if dst.Dir() != src.Dir() {
		return nil, fmt.Errorf("cannot copy from a store in %s to one in %s", src.Dir(), dst.Dir())
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

// CopyObjects copies exactly these objects like [Copy], in their order. Each must come after
// its references that the destination lacks.
func CopyObjects(ctx context.Context, dst, src Store, objects []*PathInfo, opts *CopyOptions) error {
	if opts == nil {
		opts = new(CopyOptions)
	}
	if len(objects) == 0 {
		return nil
	}
	var c *copying // nil before the first failure
	ahead := make(readAhead)
	for some := objects; len(some) > 0; {
		read, err := withArchives(ctx, src, some, ahead, opts, func(ctx context.Context, imports iter.Seq2[Import, error]) error {
			return AddMultiple(ctx, dst, len(some), imports, &opts.AddOptions)
		})
		if err == nil && c == nil {
			return nil
		}
		if err == nil {
			for _, info := range some {
				delete(c.absent, info.Path)
			}
			break
		}
		if ctx.Err() != nil {
			if !errors.Is(err, ctx.Err()) { // err is a consequence of the cancellation
				err = context.Cause(ctx)
			}
			return err
		}
		if c == nil {
			c = newCopying(dst, src, objects, opts)
		}
		if some, err = c.resolve(ctx, some, read, err); err != nil {
			return c.result(err)
		}
		ahead.keepOnly(some)
	}
	return c.result(nil)
}

// MissingFrom returns the path infos of the paths in the closure of the roots that are not
// valid in dst, references first. With substitute, dst first tries to substitute them. If dst
// is a [CompletenessQuerier], paths whose contents it has lost are missing, too.
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

// closureInfos returns the infos of a closure. If a reference is not valid in src, the info of
// its referrer may be an old one from a cache, or damaged. Then src is queried again.
func closureInfos(ctx context.Context, src Store, roots []storepath.Path) (infos []*PathInfo, err error) {
	if paths, sorted, ok, err := querySortedClosure(ctx, src, roots); ok {
		if err != nil {
			return nil, err
		}
		return collectInfos(paths, sorted)
	}
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

// collectInfos returns the infos of paths. It returns a [*NotFoundError] if an info is nil, because the path has been deleted.
func collectInfos(paths []storepath.Path, sequence iter.Seq2[*PathInfo, error]) ([]*PathInfo, error) {
	infos := make([]*PathInfo, 0, len(paths))
	for info, err := range sequence {
		if err != nil {
			return nil, err
		}
		if info == nil {
			return nil, &NotFoundError{Path: paths[len(infos)]}
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// refreshReferrers makes src refresh the infos that refer to a path, and reports whether one
// has changed.
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

// completePaths returns the valid paths of a store, sorted. If the store is a
// CompletenessQuerier, they also have their contents.
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

// withoutPaths returns the infos whose paths are not in valid, which is sorted.
func withoutPaths(infos []*PathInfo, valid []storepath.Path) []*PathInfo {
	return slices.DeleteFunc(slices.Clone(infos), func(info *PathInfo) bool {
		_, found := slices.BinarySearch(valid, info.Path)
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
