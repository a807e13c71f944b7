package main

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A jsonInfos has the infos that path-info --json prints.
type jsonInfos struct {
	paths   []storepath.Path // sorted
	infos   iter.Seq2[*store.PathInfo, error]
	invalid []storepath.Path          // other paths, which are not valid, sorted
	sizes   map[storepath.Path]uint64 // of closures; nil if they are not printed
}

// printInfosJSON prints the infos of paths, or of their closure, in a version of Nix's JSON format, and null for paths that
// are not valid. It prints while it queries the store, so an error may come after the beginning of the text.
func (a *app) printInfosJSON(ctx context.Context, s store.Store, paths []storepath.Path, o pathInfoOptions) (err error) {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	var infos jsonInfos
	switch {
	case o.closureSize:
		infos, err = infosWithSizes(ctx, s, paths, o.recursive)
	case o.recursive:
		boundGarbage() // a walk holds little more than the paths, but allocates much more
		infos, err = closureJSONInfos(ctx, s, paths)
	case o.all:
		boundGarbage()
		infos, err = allJSONInfos(ctx, s, paths)
	default:
		infos = jsonInfos{paths: paths, infos: store.LookUp(ctx, s, paths)}
	}
	if err != nil {
		return err
	}
	if err := infos.write(store.PathInfoJSON{Version: o.version}.NewWriter(a.stdout, s.Dir(), "  ")); err != nil {
		return err
	}
	return a.print("\n")
}

// closureJSONInfos returns the infos of the closure of paths, which are sorted.
func closureJSONInfos(ctx context.Context, s store.Store, paths []storepath.Path) (j jsonInfos, err error) {
	invalid, err := ofValid(ctx, s, paths, func(valid []storepath.Path) (err error) {
		j.paths, j.infos, err = store.SortedClosure(ctx, s, valid...)
		return err
	})
	j.invalid = invalid.paths
	return j, err
}

// allJSONInfos returns the infos of all valid paths, which are sorted. All valid paths are also their own
// closure. A store in a directory reads the infos of a closure without a search for each path.
func allJSONInfos(ctx context.Context, s store.Store, paths []storepath.Path) (jsonInfos, error) {
	if _, ok := store.As[store.SortedClosureQuerier](s); ok {
		return closureJSONInfos(ctx, store.WithLimits(s, store.Limits{}), paths)
	}
	return jsonInfos{paths: paths, infos: store.LookUp(ctx, s, paths)}, nil
}

// infosWithSizes returns the infos of paths, which are sorted, or of their closure, with the sizes of closures. The sizes need
// all infos in memory.
func infosWithSizes(ctx context.Context, s store.Store, paths []storepath.Path, recursive bool) (j jsonInfos, err error) {
	infos, invalid, err := pathInfos(ctx, s, paths, recursive)
	if err != nil {
		return j, err
	}
	if j.sizes, err = closureSizes(ctx, s, infos, recursive); err != nil {
		return j, err
	}
	slices.SortFunc(infos, func(a, b *store.PathInfo) int { return cmp.Compare(a.Path, b.Path) })
	for _, info := range infos {
		j.paths = append(j.paths, info.Path)
	}
	j.infos = func(yield func(*store.PathInfo, error) bool) {
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
	j.invalid = invalid.paths
	return j, nil
}

// write writes the infos, and null for invalid paths.
func (j jsonInfos) write(w *store.PathInfoWriter) error {
	paths, invalid := j.paths, j.invalid
	for info, err := range j.infos {
		if err != nil {
			return err
		}
		for ; len(invalid) > 0 && invalid[0] < paths[0]; invalid = invalid[1:] {
			w.Write(invalid[0], nil) // Close returns an error again
		}
		if err := w.Write(paths[0], info, j.sizeMember(paths[0])...); err != nil {
			return err
		}
		paths = paths[1:]
	}
	for _, p := range invalid {
		w.Write(p, nil)
	}
	return w.Close()
}

// sizeMember returns the member with the closure size of a path, if there are sizes.
func (j jsonInfos) sizeMember(path storepath.Path) []store.JSONMember {
	if j.sizes == nil {
		return nil
	}
	return []store.JSONMember{{Key: "closureSize", Value: j.sizes[path]}}
}
