package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// graphOptions are the flags of graph.
type graphOptions struct {
	dot, svg, asJSON bool
}

func newGraph(a *app) *cobra.Command {
	var o graphOptions
	cmd := newPathVerb(a, pathVerb{
		use:   "graph PATH...",
		short: "Print the references in a closure as a graph",
		long: `Print the references in the closure of paths as a graph: in the language of Graphviz (--dot, the
default), where nodes are the last parts of paths and are labelled with the names; as a picture
(--svg), for which no other program is needed; or as an object of lists, keyed by path (--json).
A picture of very many paths is simplified, with a note on standard error.`,
		example: "  pix graph --svg /nix/store/...-hello > hello.svg",
		check: func() error {
			if o.dot && o.svg || o.dot && o.asJSON || o.svg && o.asJSON {
				return errors.New("--dot, --svg and --json exclude each other")
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			c, err := closure.Load(ctx, s, paths...)
			if err != nil {
				return err
			}
			return a.printGraph(c, o)
		},
	})
	cmd.Flags().BoolVar(&o.dot, "dot", false, "in the language of Graphviz")
	cmd.Flags().BoolVar(&o.svg, "svg", false, "as a picture")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "an object of the references of each path, keyed by path")
	return cmd
}

func (a *app) printGraph(c *closure.Closure, o graphOptions) error {
	switch {
	case o.svg:
		layout, err := c.Layout()
		if err != nil {
			return err
		}
		if layout.Simplified {
			fmt.Fprintf(a.stderr, "%d paths are many for a picture: lines may run across boxes\n", c.Len())
		}
		return layout.WriteSVG(a.stdout)
	case o.asJSON:
		return a.printJSON(graphJSON(c))
	}
	return c.WriteDOT(a.stdout)
}

// graphJSON returns the references of each path. They include the path itself if it refers to itself.
func graphJSON(c *closure.Closure) map[storepath.Path][]storepath.Path {
	graph := make(map[storepath.Path][]storepath.Path, c.Len())
	for p, o := range c.All() {
		graph[p] = append([]storepath.Path{}, o.References...)
	}
	return graph
}
