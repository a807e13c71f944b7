package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newGraph(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "graph PATH...",
		short:   "Print the references in a closure as a graph",
		long:    "Print the references in the closure of paths as a graph in the language of Graphviz. Nodes are the\nlast parts of paths, and are labelled with the names.",
		example: "  pix graph /nix/store/...-hello | dot -Tsvg > hello.svg",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			known, err := loadClosure(ctx, s, paths...)
			if err != nil {
				return err
			}
			return a.print(dotGraph(known))
		},
	})
}

// dotGraph spells a closure as a graph, sorted.
func dotGraph(known map[storepath.Path]*store.PathInfo) string {
	var b strings.Builder
	b.WriteString("digraph {\n")
	for _, p := range sortedPaths(known) {
		fmt.Fprintf(&b, "  %q [label=%q];\n", p.Base(), p.Name())
		for _, ref := range known[p].References {
			if ref != p {
				fmt.Fprintf(&b, "  %q -> %q;\n", p.Base(), ref.Base())
			}
		}
	}
	b.WriteString("}\n")
	return b.String()
}
