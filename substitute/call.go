package substitute

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/binarycache"
	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// A call is the state of one call of a method that substitutes paths or asks about them.
type call struct {
	store    *Store
	opening  sync.Mutex // held while substituters are opened; several goroutines may need them
	settings Settings
	search   *search // nil until something is missing
	report   *report
	guard    parallel.Guard  // calls the handler of the caller
	ctx      context.Context // of the work of this call; its handler is the report
	stop     context.CancelCauseFunc
	walk     *store.Walk // counts the infos from substituters
	all      bool        // keep going after a failure, whatever the settings say

	found      map[storepath.Path]*found                   // infos of missing paths
	first      map[storepath.Path]int                      // the substituter at which the search for a path starts, if not at the first
	failing    map[storepath.Path]bool                     // paths that a substituter listed but failed to provide
	repair     map[storepath.Path]bool                     // paths to fetch again although they are valid
	fetched    map[storepath.Path]bool                     // paths that this call has fetched
	located    map[storepath.Path][]store.KeyedRealisation // realisations from substituters, by derivation
	failed     map[storepath.Path]*Error                   // paths that no substituter provides
	rooted     map[storepath.Path]bool                     // temporary roots
	requested  map[storepath.Path]bool                     // paths that the caller named: their errors are returned, not logged
	cas        map[storepath.Path]storepath.ContentAddress // content addresses that the caller or a derivation gave
	logged     map[storepath.Path]bool                     // paths whose failure was logged
	unanswered map[int]int                                 // per substituter, the archives that failed because it did not answer
	oneByOne   bool                                        // copy one object at a time, to find out which of them fails
}

// foundBytes is about how many bytes a call and the underlying store hold for each found path.
const foundBytes = 512

func (s *Store) newCall(ctx context.Context) *call {
	c := &call{
		store: s, found: make(map[storepath.Path]*found), first: make(map[storepath.Path]int),
		failing: make(map[storepath.Path]bool), repair: make(map[storepath.Path]bool),
		fetched: make(map[storepath.Path]bool), failed: make(map[storepath.Path]*Error),
		located: make(map[storepath.Path][]store.KeyedRealisation), rooted: make(map[storepath.Path]bool),
		requested: make(map[storepath.Path]bool), logged: make(map[storepath.Path]bool),
		cas: make(map[storepath.Path]storepath.ContentAddress), unanswered: make(map[int]int),
	}
	c.walk = store.NewWalk(s.Dir(), "the substituters", s.opts.limits(), foundBytes)
	ctx, c.report = newReport(ctx, &c.guard)
	c.ctx, c.stop = context.WithCancelCause(ctx)
	c.guard.Stop = c.stop
	return c
}

// openSearch returns the search of the call, and opens the substituters when it is first called.
func (c *call) openSearch() (*search, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.search == nil {
		settings, err := c.store.opts.Settings(c.ctx)
		if err != nil {
			return nil, causeOr(c.ctx, err)
		}
		c.settings = *settings
		c.search = newSearch(c.store.Dir(), &c.settings, c.cas, c.report)
		c.search.stall = c.store.opts.stallTimeout()
	}
	return c.search, nil
}

// end ends the call. Afterwards the handler of the caller is not called any more. If the handler has
// panicked on another goroutine, end panics.
func (c *call) end() {
	c.stop(nil)
	c.report.end()
	c.guard.End()
	c.guard.Repanic()
}

// substitute makes the closures of paths valid. It records in failed why a path is not available.
// After the failure of one root, it does not try the others, unless the settings say so.
func (c *call) substitute(ctx context.Context, roots []storepath.Path) error {
	for {
		missing, err := c.plan(ctx, roots)
		if err != nil || len(missing) == 0 {
			return err
		}
		if c.shouldStop(roots) {
			return nil
		}
		others, err := c.claim(ctx, missing)
		if err == nil && others != nil {
			err = await(ctx, others)
		}
		if err != nil {
			return err
		}
	}
}

// claim fetches the objects that no other call is fetching, as soon as this call may copy. If other
// calls fetch all of them, it returns a channel that is closed when one of those calls has ended.
func (c *call) claim(ctx context.Context, missing []*store.PathInfo) (others <-chan struct{}, err error) {
	if err := c.store.copies.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer c.store.copies.Release(1)
	mine, own, others := c.store.claims.acquire(missing)
	defer c.store.claims.release(mine, own)
	if len(mine) == 0 {
		return others, nil
	}
	return nil, c.fetch(ctx, mine, own)
}

// shouldStop reports whether a substituter has failed with one of the paths and the settings do not keep going.
func (c *call) shouldStop(paths []storepath.Path) bool {
	return !c.all && !c.settings.KeepGoing && slices.ContainsFunc(paths, func(p storepath.Path) bool {
		return c.failed[p] != nil && c.failed[p].Failed
	})
}

// fetch copies claimed objects. If a substituter fails to provide some of them, it records that and
// returns no error.
func (c *call) fetch(ctx context.Context, mine []*store.PathInfo, own *claim) error {
	// Another call may have fetched them before they were claimed.
	missing, err := c.invalid(ctx, mine)
	if err != nil || len(missing) == 0 {
		return err
	}
	atOnce := len(missing)
	if c.oneByOne {
		atOnce = 1
	}
	for some := range slices.Chunk(missing, atOnce) {
		failed := c.copy(ctx, some, own)
		if failed == nil {
			c.markFetched(some, nil)
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.oneByOne = !c.blameAll(some, failed)
		left, err := c.invalid(ctx, some)
		c.markFetched(some, left)
		return err
	}
	return nil
}

// blameAll records which objects could not be copied. It reports whether it found at least one.
func (c *call) blameAll(objects []*store.PathInfo, err error) bool {
	known := false
	if copied, ok := errors.AsType[*store.CopyError](err); ok {
		for _, f := range copied.Failed {
			if _, dependent := errors.AsType[*store.MissingReferenceError](f.Err); dependent {
				continue
			}
			if c.found[f.Path] != nil { // else its substituter was already dropped
				c.blame(f.Path, f.Err)
			}
			known = true
		}
	}
	if !known && len(objects) == 1 {
		c.blame(objects[0].Path, err)
		known = true
	}
	return known
}

// blame records that a substituter failed to provide a path that it listed. If only the archive is
// missing, the path counts as not found there, as in Nix.
func (c *call) blame(path storepath.Path, why error) {
	archive, ok := errors.AsType[*binarycache.ArchiveError](why)
	if ok && errors.Is(why, binarycache.ErrGone) {
		which := ""
		if uri := c.search.substituters[c.found[path].from].URI; !strings.HasPrefix(uri, "file:") {
			which = " '" + uri + "'" // Nix names no directory either
		}
		c.report.log(activity.LevelWarn, "warning: file '%s' does not exist in binary cache%s", archive.URL, which)
	} else {
		c.report.log(activity.LevelError, "error: %v", why)
		c.failing[path] = true
	}
	from := c.found[path].from
	c.first[path] = from + 1
	delete(c.found, path)
	if isDown(why) {
		c.unanswered[from]++
	}
	if c.unanswered[from] == maxUnanswered || errors.Is(why, errStalled) {
		c.dropSubstituter(from, why)
	}
}

// maxUnanswered is the number of archives that may fail because a substituter does not answer, before the call stops
// asking it. Each failure may take as long as all retries together.
const maxUnanswered = 16

// dropSubstituter makes the call search the next substituters for the paths that this one has listed.
func (c *call) dropSubstituter(from int, why error) {
	c.search.down[from].why.Store(&why)
	for path, f := range c.found {
		if f.from == from {
			delete(c.found, path)
		}
	}
}

// markFetched records that objects were fetched, except those in left, which are in the same order.
func (c *call) markFetched(objects, left []*store.PathInfo) {
	for _, info := range objects {
		if len(left) > 0 && left[0] == info {
			left = left[1:]
			continue
		}
		c.fetched[info.Path] = true
		delete(c.repair, info.Path)
	}
}

// invalid returns the objects that are not valid or have to be fetched again.
func (c *call) invalid(ctx context.Context, objects []*store.PathInfo) ([]*store.PathInfo, error) {
	paths := make([]storepath.Path, len(objects))
	for i, info := range objects {
		paths[i] = info.Path
	}
	valid, err := c.store.Store.QueryValidPaths(ctx, paths, false)
	return slices.DeleteFunc(slices.Clone(objects), func(info *store.PathInfo) bool {
		_, is := slices.BinarySearch(valid, info.Path)
		return is && !c.repair[info.Path]
	}), err
}

// copy copies objects from the substituters on which they were found.
func (c *call) copy(ctx context.Context, objects []*store.PathInfo, own *claim) error {
	src := &archives{
		Store: c.store.Store, call: c, claim: own,
		found: make(map[storepath.Path]*found), reads: semaphore.NewWeighted(archiveReads),
	}
	list := make([]*found, len(objects))
	repairs := false
	for i, info := range objects {
		list[i] = c.found[info.Path]
		src.found[info.Path] = list[i]
		repairs = repairs || c.repair[info.Path]
	}
	c.report.expect(list)
	err := store.CopyObjects(ctx, c.store.Store, src, objects, &store.CopyOptions{
		Quiet: true, AddOptions: store.AddOptions{NoSignatures: true, Repair: repairs, Vouched: src.trusts},
	})
	maps.Copy(c.found, src.found) // infos may have been refreshed
	if err == nil {
		c.report.arrived(len(list))
		return nil
	}
	if failed, ok := errors.AsType[*store.CopyError](err); ok {
		c.report.arrived(len(failed.Copied))
		copied := make(map[storepath.Path]bool)
		for _, info := range failed.Copied {
			copied[info.Path] = true
		}
		list = slices.DeleteFunc(list, func(f *found) bool { return copied[f.info.Path] })
	}
	c.report.dropped(list)
	return err
}

// querySubstitutable returns the infos that substituters have of paths, sorted by path.
func (c *call) querySubstitutable(paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	list := make([]storepath.Path, 0, len(paths))
	for path, ca := range paths {
		list = append(list, path)
		c.cas[path] = ca
	}
	slices.Sort(list)
	search, err := c.openSearch()
	if err != nil {
		return nil, err
	}
	all, err := search.findAll(c.ctx, c.walk, list, nil, false)
	if err != nil {
		return nil, causeOr(c.ctx, err)
	}
	var infos []store.SubstitutableInfo
	for _, f := range all {
		if f != nil {
			infos = append(infos, store.SubstitutableInfo{
				Path: f.info.Path, Deriver: f.info.Deriver, References: f.info.References,
				DownloadSize: f.downloadSize, NARSize: f.info.NARSize,
			})
		}
	}
	return infos, nil
}

// causeOr returns the cause of the end of the context if it has ended, or else err.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
