package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"pix/closure"
	"pix/internal/sizes"
	"pix/store"
	"pix/storepath"
)

// A sizedRootJSON is a root in the output of roots --sizes --json. The sizes are bytes of archives.
type sizedRootJSON struct {
	rootJSON
	ClosureSize uint64 `json:"closureSize"`
	OwnSize     uint64 `json:"ownSize"` // of the part that no other root needs
}

// printRootSizes prints roots with the sizes of their closures, and of the parts that no other root needs, the largest part
// first.
func (a *app) printRootSizes(ctx context.Context, s store.Store, roots []store.Root, asJSON bool) error {
	sized, err := sizedRoots(ctx, s, roots)
	if err != nil {
		return err
	}
	slices.SortStableFunc(sized, func(x, y sizedRootJSON) int {
		return cmp.Or(cmp.Compare(y.OwnSize, x.OwnSize), cmp.Compare(y.ClosureSize, x.ClosureSize))
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%12s  %12s  %s\n", "closure size", "own size", "root")
	for _, r := range sized {
		fmt.Fprintf(&b, "%12s  %12s  %s -> %s\n", sizes.Human(r.ClosureSize), sizes.Human(r.OwnSize), a.shown(r.Link), r.Path)
	}
	return a.printEither(b.String(), sized, asJSON)
}

// sizedRoots returns the sizes of some roots. A path counts for the own size of a root only if no other root of the store
// needs it.
func sizedRoots(ctx context.Context, s store.Store, roots []store.Root) ([]sizedRootJSON, error) {
	all, err := store.Roots(ctx, s)
	if err != nil {
		return nil, err
	}
	links := map[storepath.Path]int{} // the number of roots that keep a path directly
	var paths []storepath.Path
	for _, r := range all {
		if links[r.Path]++; links[r.Path] == 1 {
			paths = append(paths, r.Path)
		}
	}
	c, err := closure.Load(ctx, s, paths...)
	if err != nil {
		return nil, err
	}
	closures, err := c.ClosureSizes(ctx, paths...)
	if err != nil {
		return nil, err
	}
	added, err := c.AddedSizes(ctx, paths...)
	if err != nil {
		return nil, err
	}
	unneeded := c.Unreferenced()
	sized := make([]sizedRootJSON, len(roots))
	for i, r := range roots {
		sized[i] = sizedRootJSON{rootJSON: rootJSON{r.Link, r.Path}, ClosureSize: closures[r.Path]}
		if _, only := slices.BinarySearch(unneeded, r.Path); only && links[r.Path] == 1 {
			sized[i].OwnSize = added[r.Path]
		}
	}
	return sized, nil
}
