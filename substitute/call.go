package substitute

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"pix/activity"
	"pix/binarycache"
	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// A call makes paths valid, or finds out about them, for one call of a method.
type call struct {
	store    *Store
	opening  sync.Mutex // held while substituters are opened; many goroutines may request them
	settings Settings
	search   *search // nil as long as nothing is missing
	report   *report
	guard    parallel.Guard  // calls the handler of the caller
	ctx      context.Context // of what it does; its handler is the report
	stop     context.CancelCauseFunc
	walk     *store.Walk // counts the infos from substituters
	all      bool        // get everything that is available, whatever the settings say

	found   map[storepath.Path]*found                   // what is known of paths that are not valid
	first   map[storepath.Path]int                      // from which substituter on paths are looked for, if not from the first
	failing map[storepath.Path]bool                     // paths that substituters said they have, and did not give
	repair  map[storepath.Path]bool                     // paths that are to be fetched again
	fetched map[storepath.Path]bool                     // paths that were
	located map[storepath.Path][]store.KeyedRealisation // what substituters say of outputs of derivations
	failed  map[storepath.Path]*Error                   // paths that cannot be had
	held    map[storepath.Path]bool                     // temporary roots
	asked   map[storepath.Path]bool                     // paths that the caller has named
	cas     map[storepath.Path]storepath.ContentAddress // of paths, if the caller or a derivation says it
	told    map[storepath.Path]bool                     // paths of which it was told that they cannot be had
	lost    map[int]int                                 // how many archives each substituter has not given because it did not answer
	singly  bool                                        // one object is copied after the other, to see which of them fails
}

// foundBytes is how many bytes a call and the store below hold for each path that was found, about.
const foundBytes = 512

func (s *Store) newCall(ctx context.Context) *call {
	c := &call{
		store: s, found: make(map[storepath.Path]*found), first: make(map[storepath.Path]int),
		failing: make(map[storepath.Path]bool), repair: make(map[storepath.Path]bool),
		fetched: make(map[storepath.Path]bool), failed: make(map[storepath.Path]*Error),
		located: make(map[storepath.Path][]store.KeyedRealisation), held: make(map[storepath.Path]bool),
		asked: make(map[storepath.Path]bool), told: make(map[storepath.Path]bool),
		cas: make(map[storepath.Path]storepath.ContentAddress), lost: make(map[int]int),
	}
	c.walk = store.NewWalk(s.Dir(), "the substituters", s.opts.limits(), foundBytes)
	ctx, c.report = newReport(ctx, &c.guard)
	c.ctx, c.stop = context.WithCancelCause(ctx)
	c.guard.Stop = c.stop
	return c
}

// searching returns what asks the substituters, which are opened if they are not yet.
func (c *call) searching() (*search, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.search == nil {
		settings, err := c.store.opts.Settings(c.ctx)
		if err != nil {
			return nil, because(c.ctx, err)
		}
		c.settings = *settings
		c.search = newSearch(c.store.Dir(), &c.settings, c.cas, c.report)
		c.search.stall = c.store.opts.stallTimeout()
	}
	return c.search, nil
}

// end ends the call. The handler is not called any more afterwards. If it has panicked on another
// goroutine, end panics.
func (c *call) end() {
	c.stop(nil)
	c.report.end()
	c.guard.End()
	c.guard.Repanic()
}

// substitute makes paths valid, and all that they refer to. Why one of them cannot be had is noted
// in failed. If a substituter has failed with one of them, the others are not tried any more, unless
// the settings say so.
func (c *call) substitute(ctx context.Context, roots []storepath.Path) error {
	for {
		missing, err := c.plan(ctx, roots)
		if err != nil || len(missing) == 0 {
			return err
		}
		if c.gaveUp(roots) {
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

// claim fetches those of the objects that nobody else fetches, when it is its turn. If others fetch
// all of them, it returns what to wait for.
func (c *call) claim(ctx context.Context, missing []*store.PathInfo) (others <-chan struct{}, err error) {
	if err := c.store.copies.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer c.store.copies.Release(1)
	mine, own, others := c.store.claims.take(missing)
	defer c.store.claims.give(mine, own)
	if len(mine) == 0 {
		return others, nil
	}
	return nil, c.fetch(ctx, mine, own)
}

// gaveUp reports whether nothing more is tried, since a substituter has failed with one of the paths.
func (c *call) gaveUp(paths []storepath.Path) bool {
	return !c.all && !c.settings.KeepGoing && slices.ContainsFunc(paths, func(p storepath.Path) bool {
		return c.failed[p] != nil && c.failed[p].Failed
	})
}

// fetch copies objects that were claimed. If some of them cannot be had from their substituters, that
// is noted, and no error.
func (c *call) fetch(ctx context.Context, mine []*store.PathInfo, own *claim) error {
	// Until they were claimed others may have fetched them.
	missing, err := c.invalid(ctx, mine)
	if err != nil || len(missing) == 0 {
		return err
	}
	atOnce := len(missing)
	if c.singly {
		atOnce = 1
	}
	for some := range slices.Chunk(missing, atOnce) {
		failed := c.copy(ctx, some, own)
		if failed == nil {
			c.note(some, nil)
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.singly = !c.blameAll(some, failed)
		left, err := c.invalid(ctx, some)
		c.note(some, left)
		return err
	}
	return nil
}

// blameAll notes which objects could not be copied. It reports whether at least one is known.
func (c *call) blameAll(objects []*store.PathInfo, err error) bool {
	known := false
	if copied, ok := errors.AsType[*store.CopyError](err); ok {
		for _, f := range copied.Failed {
			if _, dependent := errors.AsType[*store.MissingReferenceError](f.Err); dependent {
				continue
			}
			if c.found[f.Path] != nil { // else its substituter was given up
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

// blame notes that a path cannot be had from the substituter that said it has it. If it has only the
// archive no more, that is as if it had never had the path, as in Nix.
func (c *call) blame(path storepath.Path, why error) {
	archive, ok := errors.AsType[*binarycache.ArchiveError](why)
	if ok && errors.Is(why, binarycache.ErrGone) {
		which := ""
		if uri := c.search.substituters[c.found[path].from].URI; !strings.HasPrefix(uri, "file:") {
			which = " '" + uri + "'" // so does Nix
		}
		c.report.say(activity.LevelWarn, "warning: file '%s' does not exist in binary cache%s", archive.URL, which)
	} else {
		c.report.say(activity.LevelError, "error: %v", why)
		c.failing[path] = true
	}
	from := c.found[path].from
	c.first[path] = from + 1
	delete(c.found, path)
	if isDown(why) {
		c.lost[from]++
	}
	if c.lost[from] == tooManyLost || errors.Is(why, errStalled) {
		c.giveUp(from, why)
	}
}

// tooManyLost is the number of archives that a substituter does not give, because it does not answer, before it is
// not asked any more in a call. Each may take as long as all retries.
const tooManyLost = 16

// giveUp looks for everything that was found at a substituter at the next ones.
func (c *call) giveUp(from int, why error) {
	c.search.down[from].why.Store(&why)
	for path, f := range c.found {
		if f.from == from {
			delete(c.found, path)
		}
	}
}

// note notes that objects were fetched, but for some that are left, in the same order.
func (c *call) note(objects, left []*store.PathInfo) {
	for _, info := range objects {
		if len(left) > 0 && left[0] == info {
			left = left[1:]
			continue
		}
		c.fetched[info.Path] = true
		delete(c.repair, info.Path)
	}
}

// invalid returns those of the objects that are not valid, or are to be fetched again.
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

// copy copies objects.
func (c *call) copy(ctx context.Context, objects []*store.PathInfo, own *claim) error {
	src := &archives{Store: c.store.Store, call: c, claim: own, found: make(map[storepath.Path]*found)}
	list := make([]*found, len(objects))
	repairs := false
	for i, info := range objects {
		list[i] = c.found[info.Path]
		src.found[info.Path] = list[i]
		repairs = repairs || c.repair[info.Path]
	}
	c.report.expect(list)
	err := store.CopyObjects(ctx, c.store.Store, src, objects, &store.CopyOptions{
		Quiet: true, AddOptions: store.AddOptions{NoSignatures: true, Repair: repairs, Vouched: src.vouched},
	})
	maps.Copy(c.found, src.found) // some may be fresh
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

// querySubstitutable returns what substituters say of paths, sorted by path.
func (c *call) querySubstitutable(paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	list := make([]storepath.Path, 0, len(paths))
	for path, ca := range paths {
		list = append(list, path)
		c.cas[path] = ca
	}
	slices.Sort(list)
	search, err := c.searching()
	if err != nil {
		return nil, err
	}
	all, err := search.findAll(c.ctx, c.walk, list, nil, false)
	if err != nil {
		return nil, because(c.ctx, err)
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

// because returns why a context has ended, or err.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
