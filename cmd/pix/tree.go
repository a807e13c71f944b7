package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newTree(a *app) *cobra.Command {
	var depth int
	cmd := newPathVerb(a, pathVerb{
		use:     "tree PATH...",
		short:   "Print what paths refer to as a tree",
		long:    "Print what paths refer to as a tree. What was printed before is followed by [...] and not unfolded\nagain.",
		example: "  pix tree --depth 2 /nix/store/...-hello",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			known, err := loadClosure(ctx, s, paths...)
			if err != nil {
				return err
			}
			t := newTreePrinter(known, depth)
			for _, p := range paths {
				if err := t.print(p); err != nil {
					return err
				}
			}
			return a.print(t.out.String())
		},
	})
	cmd.Flags().IntVar(&depth, "depth", 0, "unfold `N` levels only; 0 is all")
	freeValue(cmd, "depth")
	return cmd
}

// loadClosure returns what the store knows of the closure of paths, by path.
func loadClosure(ctx context.Context, s store.Store, paths ...storepath.Path) (map[storepath.Path]*store.PathInfo, error) {
	known := make(map[storepath.Path]*store.PathInfo)
	for info, err := range store.Closure(ctx, s, paths...) {
		if err != nil {
			return nil, err
		}
		known[info.Path] = info
	}
	return known, nil
}

// sortedPaths returns the paths of a closure.
func sortedPaths(known map[storepath.Path]*store.PathInfo) []storepath.Path {
	return slices.Sorted(maps.Keys(known))
}

// A tree is printed as nix-store --query --tree prints it.
type tree struct {
	known map[storepath.Path]*store.PathInfo
	done  map[storepath.Path]bool
	depth int
	out   strings.Builder
}

func newTreePrinter(known map[storepath.Path]*store.PathInfo, depth int) *tree {
	return &tree{known: known, done: make(map[storepath.Path]bool, len(known)), depth: depth}
}

// A branch is a path that is to be printed, and what stands before it.
type branch struct {
	path        storepath.Path
	first, rest string // before it, and before what is below it
	level       int
}

// print prints a path and what is below it. A closure may be deep, so this is no recursion.
func (t *tree) print(root storepath.Path) error {
	for todo := []branch{{path: root}}; len(todo) > 0; {
		b := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		t.out.WriteString(b.first + string(b.path))
		if t.done[b.path] {
			t.out.WriteString(" [...]\n")
			continue
		}
		t.out.WriteString("\n")
		t.done[b.path] = true
		if t.depth > 0 && b.level >= t.depth {
			continue
		}
		below, err := t.below(b)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

// below returns what b refers to, the last to be printed first: those that others need are
// printed before these, which keeps the tree flat.
func (t *tree) below(b branch) ([]branch, error) {
	var infos []*store.PathInfo
	for _, p := range t.known[b.path].References {
		infos = append(infos, t.known[p])
	}
	infos, err := store.SortByReferences(infos)
	if err != nil {
		return nil, err
	}
	branches := make([]branch, len(infos))
	for i, info := range infos {
		at := len(infos) - 1 - i
		branches[at] = branch{info.Path, b.rest + "├───", b.rest + "│   ", b.level + 1}
		if at == 0 { // it is printed last
			branches[at].first, branches[at].rest = b.rest+"└───", b.rest+"    "
		}
	}
	return branches, nil
}
