package main

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"pix/store"
	"pix/storepath"
)

// maxHeldInfos is the largest number of infos of a closure that path-info --json holds in memory. For a larger closure
// it holds the paths only, and queries the infos again.
const maxHeldInfos = 1 << 14

// printInfosJSON prints the infos of paths, or of their closure, in a version of Nix's JSON format, and null for paths that
// are not valid. It prints while it queries the store, so an error may come after the beginning of the text.
func (a *app) printInfosJSON(ctx context.Context, s store.Store, paths []storepath.Path, o pathInfoOptions) error {
	var infos []*store.PathInfo // of all valid paths, if they are held
	var invalid invalidPaths
	var sizes map[storepath.Path]uint64
	var err error
	switch {
	case o.closureSize: // the sizes need all infos in memory
		if infos, invalid, err = pathInfos(ctx, s, paths, o.recursive); err == nil {
			sizes, err = closureSizes(ctx, s, infos, o.recursive)
		}
	case o.recursive:
		invalid, err = ofValid(ctx, s, paths, func(valid []storepath.Path) (err error) {
			paths, infos, err = closurePaths(ctx, s, valid)
			return err
		})
	}
	if err != nil {
		return err
	}
	for _, info := range infos {
		paths = append(paths, info.Path)
	}
	paths = append(paths, invalid.paths...)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	w := store.PathInfoJSON{Version: o.version}.NewWriter(a.stdout, s.Dir(), "  ")
	lookUp := store.LookUp(ctx, s, paths)
	if infos != nil {
		lookUp = heldInfos(infos, paths)
	}
	for info, err := range lookUp {
		if err != nil {
			return err
		}
		if err := w.Write(paths[0], info, sizeMember(sizes, paths[0])...); err != nil {
			return err
		}
		paths = paths[1:]
	}
	if err := w.Close(); err != nil {
		return err
	}
	return a.print("\n")
}

// sizeMember returns the member with the closure size of a path, if there are sizes.
func sizeMember(sizes map[storepath.Path]uint64, path storepath.Path) []store.JSONMember {
	if sizes == nil {
		return nil
	}
	return []store.JSONMember{{Key: "closureSize", Value: sizes[path]}}
}

// closurePaths returns the paths of a closure, and their infos, or nil if these are too many to hold. Then the walk holds little
// more than the paths, and most of what it allocates is garbage, so the collector runs more often.
func closurePaths(ctx context.Context, s store.Store, roots []storepath.Path) (paths []storepath.Path, infos []*store.PathInfo, err error) {
	for info, err := range store.Closure(ctx, s, roots...) {
		if err != nil {
			return nil, nil, err
		}
		paths = append(paths, info.Path)
		if len(paths) <= maxHeldInfos {
			infos = append(infos, info)
		} else if infos != nil {
			infos = nil
			boundGarbage()
		}
	}
	return paths, infos, nil
}

// heldInfos is [store.LookUp] for infos in memory, which it sorts. The paths are sorted.
func heldInfos(infos []*store.PathInfo, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	slices.SortFunc(infos, func(a, b *store.PathInfo) int { return cmp.Compare(a.Path, b.Path) })
	return func(yield func(*store.PathInfo, error) bool) {
		for _, p := range paths {
			var info *store.PathInfo
			if i, found := slices.BinarySearchFunc(infos, p, func(info *store.PathInfo, p storepath.Path) int { return cmp.Compare(info.Path, p) }); found {
				info = infos[i]
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}
