package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newGraph(a *app) *cobra.Command {
	var dot, svg, asJSON bool
	cmd := newPathVerb(a, pathVerb{
		use:   "graph PATH...",
		short: "Print the references in a closure as a graph",
		long: `Print the references in the closure of paths as a graph: in the language of Graphviz (--dot, as by
default), where nodes are the last parts of paths and are labelled with the names; as a picture
(--svg), for which no other program is needed; or as an object of lists, keyed by path (--json).
A picture of very many paths is drawn with less care, which is said on standard error.`,
		example: "  pix graph --svg /nix/store/...-hello > hello.svg",
		check: func() error {
			if dot && svg || dot && asJSON || svg && asJSON {
				return errors.New("--dot, --svg and --json exclude each other")
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			known, err := loadClosure(ctx, s, paths...)
			if err != nil {
				return err
			}
			switch {
			case svg:
				return a.printSVG(known)
			case asJSON:
				return a.printJSON(graphJSON(known))
			}
			return a.print(dotGraph(known))
		},
	})
	cmd.Flags().BoolVar(&dot, "dot", false, "in the language of Graphviz")
	cmd.Flags().BoolVar(&svg, "svg", false, "as a picture")
	cmd.Flags().BoolVar(&asJSON, "json", false, "an object of the references of each path, keyed by path")
	return cmd
}

func (a *app) printSVG(known map[storepath.Path]*store.PathInfo) error {
	svg, careful, err := svgGraph(known)
	if err != nil {
		return err
	}
	if !careful {
		fmt.Fprintf(a.stderr, "%d paths are many for a picture: lines may run across boxes\n", len(known))
	}
	return a.print(svg)
}

// graphJSON returns the references of each path, itself among them if it refers to itself.
func graphJSON(known map[storepath.Path]*store.PathInfo) map[storepath.Path][]storepath.Path {
	graph := make(map[storepath.Path][]storepath.Path, len(known))
	for p, info := range known {
		graph[p] = append([]storepath.Path{}, info.References...)
	}
	return graph
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
