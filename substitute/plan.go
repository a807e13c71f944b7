package substitute

import (
	"context"
	"fmt"
	"slices"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// plan returns what is to be fetched for roots, each after those that it refers to. It notes in
// failed what cannot be had. All else that it has looked at is a temporary root from then on: of what
// nobody has there may be any number.
func (c *call) plan(ctx context.Context, roots []storepath.Path) ([]*store.PathInfo, error) {
	clear(c.failed)
	var wanted []*store.PathInfo
	for level := c.walk.Start(roots...); len(level) > 0; level = c.walk.Next() {
		lacking, err := c.lacking(ctx, level)
		if err != nil {
			return nil, err
		}
		if err := c.look(ctx, lacking); err != nil {
			return nil, err
		}
		for _, path := range lacking {
			f := c.found[path]
			if f == nil {
				c.fail(path, store.NoSubstituters, c.failing[path], "path '%s' is required, but there is no substituter that can build it", path)
				continue
			}
			if err := c.hold(ctx, path); err != nil {
				return nil, err
			}
			wanted = append(wanted, f.info)
			c.walk.Follow(f.info)
		}
	}
	sorted, err := store.SortByReferences(wanted)
	return c.possible(sorted), err
}

// lacking returns those of the paths that are not valid, or are to be fetched again. The others are
// temporary roots from before it is known that they are valid.
func (c *call) lacking(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	valid, err := c.store.Store.QueryValidPaths(ctx, paths, false)
	if err == nil && len(valid) > 0 {
		if err = c.hold(ctx, valid...); err == nil {
			valid, err = c.store.Store.QueryValidPaths(ctx, valid, false)
		}
	}
	return slices.DeleteFunc(paths, func(p storepath.Path) bool {
		_, is := slices.BinarySearch(valid, p)
		return is && !c.repair[p]
	}), err
}

// hold makes paths temporary roots.
func (c *call) hold(ctx context.Context, paths ...storepath.Path) error {
	r, ok := store.As[store.TempRooter](c.store.Store)
	if !ok {
		return nil
	}
	for _, p := range paths {
		if c.held[p] {
			continue
		}
		if err := r.AddTempRoot(ctx, p); err != nil {
			return err
		}
		c.held[p] = true
	}
	return nil
}

// look asks about paths of which nothing is known yet.
func (c *call) look(ctx context.Context, paths []storepath.Path) error {
	unknown := slices.DeleteFunc(slices.Clone(paths), func(p storepath.Path) bool { return c.found[p] != nil })
	if len(unknown) == 0 {
		return nil
	}
	search, err := c.searching()
	if err != nil {
		return err
	}
	all, err := search.findAll(ctx, c.walk, unknown, c.first, true)
	if err != nil {
		return because(ctx, err)
	}
	for i, f := range all {
		if f != nil {
			c.found[unknown[i]] = f
		} else {
			c.first[unknown[i]] = len(search.substituters) // nobody need be asked again
		}
	}
	return nil
}

// fail notes why a path cannot be had. If that is a failure, and nobody is told of the path himself,
// it is told like any other.
func (c *call) fail(path storepath.Path, status store.BuildStatus, failed bool, format string, args ...any) {
	c.failed[path] = &Error{Path: path, Status: status, Reason: fmt.Sprintf(format, args...), Failed: failed}
	if failed && !c.asked[path] && !c.told[path] {
		c.told[path] = true
		c.report.say(activity.LevelError, "error: %s", c.failed[path].Reason)
	}
}

// possible returns those of the objects that can become valid: what they refer to is not among those
// that cannot be had. They are sorted by references.
func (c *call) possible(sorted []*store.PathInfo) []*store.PathInfo {
	return slices.DeleteFunc(sorted, func(info *store.PathInfo) bool {
		impossible, failed := false, true
		for _, ref := range info.References {
			if why := c.failed[ref]; why != nil && ref != info.Path {
				impossible, failed = true, failed && why.Failed
			}
		}
		if impossible {
			c.fail(info.Path, store.DependencyFailed, failed, "some references of path '%s' could not be realised", info.Path)
		}
		return impossible
	})
}
