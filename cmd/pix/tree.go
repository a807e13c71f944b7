package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

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
			if _, err := store.SortByReferences(slices.Collect(maps.Values(known))); err != nil {
				return err // a cycle, and nothing is printed
			}
			out := bufio.NewWriterSize(a.stdout, 64<<10)
			t := newTreePrinter(out, known, depth)
			for _, p := range paths {
				if err := t.print(p); err != nil {
					return err
				}
			}
			return out.Flush()
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

// maxTreeDepth is how many levels a tree may have. What stands before a path grows with its level, so a
// closure that is a long chain would be printed in gigabytes. Closures of packages have some tens.
const maxTreeDepth = 1000

// A tree is printed as nix-store --query --tree prints it.
type tree struct {
	out   io.Writer
	known map[storepath.Path]*store.PathInfo
	done  map[storepath.Path]bool
	depth int
}

func newTreePrinter(out io.Writer, known map[storepath.Path]*store.PathInfo, depth int) *tree {
	return &tree{out: out, known: known, done: make(map[storepath.Path]bool, len(known)), depth: depth}
}

// A branch is a path that is to be printed.
type branch struct {
	path  storepath.Path
	rest  string // what stands before it and its siblings
	last  bool   // of its siblings
	level int
}

// print prints a path and what is below it. A closure may be deep, so this is no recursion.
func (t *tree) print(root storepath.Path) error {
	for todo := []branch{{path: root}}; len(todo) > 0; {
		b := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		mark, rest := "", ""
		switch {
		case b.level == 0:
		case b.last:
			mark, rest = "└───", b.rest+"    "
		default:
			mark, rest = "├───", b.rest+"│   "
		}
		again := ""
		if t.done[b.path] {
			again = " [...]"
		}
		if _, err := fmt.Fprintf(t.out, "%s%s%s%s\n", b.rest, mark, b.path, again); err != nil {
			return err
		}
		if t.done[b.path] {
			continue
		}
		t.done[b.path] = true
		if t.depth > 0 && b.level >= t.depth {
			continue
		}
		if b.level == maxTreeDepth {
			return fmt.Errorf("the tree has more than %d levels; print the first ones with --depth", maxTreeDepth)
		}
		below, err := t.below(b, rest)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

// below returns what b refers to, the last to be printed first: those that others need are
// printed before these, which keeps the tree flat.
func (t *tree) below(b branch, rest string) ([]branch, error) {
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
		branches[at] = branch{info.Path, rest, at == 0, b.level + 1}
	}
	return branches, nil
}
