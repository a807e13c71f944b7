package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/internal/sizes"
	"pix/store"
	"pix/storepath"
)

// treeOptions are the flags of tree.
type treeOptions struct {
	depth          int
	sizes, reverse bool
}

func newTree(a *app) *cobra.Command {
	var o treeOptions
	cmd := newPathVerb(a, pathVerb{
		use:   "tree PATH...",
		short: "Print what paths refer to as a tree",
		long: `Print what paths refer to as a tree. A path that was printed before is followed by [...] and is not
unfolded again. With --reverse, below each path are the paths of the store that refer to it. With
--sizes each path is followed by the size of its archive and of its closure.`,
		example: "  pix tree --depth 2 --sizes /nix/store/...-hello\n" +
			"  pix tree --reverse /nix/store/...-glibc-2.40",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			return a.printTree(ctx, s, paths, o)
		},
	})
	cmd.Flags().IntVar(&o.depth, "depth", 0, "unfold `N` levels only; 0 is all")
	cmd.Flags().BoolVar(&o.sizes, "sizes", false, "print the size of each path and of its closure")
	cmd.Flags().BoolVar(&o.reverse, "reverse", false, "print what refers to the paths")
	freeValue(cmd, "depth")
	return cmd
}

func (a *app) printTree(ctx context.Context, s store.Store, paths []storepath.Path, o treeOptions) error {
	opts := &closure.TreeOptions{Depth: max(o.depth, 0), Reverse: o.reverse}
	c, err := loadTree(ctx, s, paths, opts)
	if err != nil {
		return err
	}
	if o.sizes {
		if opts.Label, err = sizeLabels(ctx, s, c, o.reverse); err != nil {
			return err
		}
	}
	err = c.WriteTree(a.stdout, opts, paths...)
	if errors.As(err, new(*closure.TreeDepthError)) {
		err = fmt.Errorf("%w; print the first ones with --depth", err)
	}
	return err
}

// loadTree returns the objects of a tree.
func loadTree(ctx context.Context, s store.Store, paths []storepath.Path, opts *closure.TreeOptions) (*closure.Closure, error) {
	if opts.Reverse {
		return closure.LoadReferrers(ctx, s, opts.Depth, paths...)
	}
	return closure.Load(ctx, s, paths...)
}

// sizeLabels returns a function that returns the sizes of a path in a tree as text. The paths of a reverse tree are
// only a part of their closures, which must be loaded first.
func sizeLabels(ctx context.Context, s store.Store, tree *closure.Closure, reverse bool) (func(storepath.Path) string, error) {
	c, paths := tree, tree.Paths()
	if reverse {
		var err error
		if c, err = closure.Load(ctx, s, paths...); err != nil {
			return nil, err
		}
	}
	closures, err := c.ClosureSizes(ctx, paths...)
	if err != nil {
		return nil, err
	}
	return func(path storepath.Path) string {
		object, _ := c.Get(path)
		return fmt.Sprintf(" (%s, closure %s)", sizes.Human(object.NARSize), sizes.Human(closures[path]))
	}, nil
}
