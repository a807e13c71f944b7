package substitute

import (
	"context"
	"fmt"
	"slices"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// An Error reports that no substituter provides a path. Its message is the one of Nix.
type Error struct {
	Path   storepath.Path
	Status store.BuildStatus // NoSubstituters, or DependencyFailed if a reference is not available
	Reason string

	// Failed reports that a substituter listed the path but failed to provide it, so that another
	// attempt may succeed.
	Failed bool
}

func (e *Error) Error() string { return e.Reason }

// plan returns the infos of the objects to fetch for roots, each after its references. It records in
// failed which paths are not available. Every valid or available path that it has seen is a temporary
// root afterwards. Unavailable paths are not: a client could name any number of them.
func (c *call) plan(ctx context.Context, roots []storepath.Path) ([]*store.PathInfo, error) {
	clear(c.failed)
	var wanted []*store.PathInfo
	for level := c.walk.Start(roots...); len(level) > 0; level = c.walk.Next() {
		lacking, err := c.lacking(ctx, level)
		if err != nil {
			return nil, err
		}
		if err := c.findUnknown(ctx, lacking); err != nil {
			return nil, err
		}
		for _, path := range lacking {
			f := c.found[path]
			if f == nil {
				c.fail(path, store.NoSubstituters, c.failing[path], "path '%s' is required, but there is no substituter that can build it", path)
				continue
			}
			if err := c.addTempRoots(ctx, path); err != nil {
				return nil, err
			}
			wanted = append(wanted, f.info)
			c.walk.Follow(f.info)
		}
	}
	sorted, err := store.SortByReferences(wanted)
	return c.filterAvailable(sorted), err
}

// lacking returns the paths that are not valid or have to be fetched again. It makes the valid ones
// temporary roots and then checks them again, because a collector may delete them in between.
func (c *call) lacking(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	valid, err := c.store.Store.QueryValidPaths(ctx, paths, false)
	if err == nil && len(valid) > 0 {
		if err = c.addTempRoots(ctx, valid...); err == nil {
			valid, err = c.store.Store.QueryValidPaths(ctx, valid, false)
		}
	}
	return slices.DeleteFunc(paths, func(p storepath.Path) bool {
		_, is := slices.BinarySearch(valid, p)
		return is && !c.repair[p]
	}), err
}

// addTempRoots makes paths temporary roots.
func (c *call) addTempRoots(ctx context.Context, paths ...storepath.Path) error {
	r, ok := store.As[store.TempRooter](c.store.Store)
	if !ok {
		return nil
	}
	for _, p := range paths {
		if c.rooted[p] {
			continue
		}
		if err := r.AddTempRoot(ctx, p); err != nil {
			return err
		}
		c.rooted[p] = true
	}
	return nil
}

// findUnknown asks the substituters about the paths that were not looked up yet.
func (c *call) findUnknown(ctx context.Context, paths []storepath.Path) error {
	unknown := slices.DeleteFunc(slices.Clone(paths), func(p storepath.Path) bool { return c.found[p] != nil })
	if len(unknown) == 0 {
		return nil
	}
	search, err := c.openSearch()
	if err != nil {
		return err
	}
	all, err := search.findAll(ctx, c.walk, unknown, c.first, true)
	if err != nil {
		return causeOr(ctx, err)
	}
	for i, f := range all {
		if f != nil {
			c.found[unknown[i]] = f
		} else {
			c.first[unknown[i]] = len(search.substituters) // no substituter is left to ask
		}
	}
	return nil
}

// fail records why a path is not available. A failure is logged, unless the path is one that the caller
// named: the call returns the errors of those.
func (c *call) fail(path storepath.Path, status store.BuildStatus, failed bool, format string, args ...any) {
	c.failed[path] = &Error{Path: path, Status: status, Reason: fmt.Sprintf(format, args...), Failed: failed}
	if failed && !c.requested[path] && !c.logged[path] {
		c.logged[path] = true
		c.report.log(activity.LevelError, "error: %s", c.failed[path].Reason)
	}
}

// filterAvailable returns the objects whose references are all available, sorted by references, and
// records a failure for the others.
func (c *call) filterAvailable(sorted []*store.PathInfo) []*store.PathInfo {
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
