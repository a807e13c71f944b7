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
	dot, svg, graphML, asJSON bool
	depth                     int
}

func newGraph(a *app) *cobra.Command {
	var o graphOptions
	cmd := newPathVerb(a, pathVerb{
		use:   "graph PATH...",
		short: "Print the references in a closure as a graph",
		long: `Print the references in the closure of paths as a graph: in the language of Graphviz (--dot, the
default), where nodes are the last parts of paths and are labelled with the names; as a picture
(--svg), for which no other program is needed; in GraphML as Nix prints it (--graphml); or as an
object of lists, keyed by path (--json). A picture of very many paths is simplified, with a note on
standard error: print the paths near the given ones with --depth.`,
		example: "  pix graph --svg /nix/store/...-hello > hello.svg\n" +
			"  pix graph --svg --depth 2 /run/current-system > system.svg",
		check: o.check,
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			c, err := closure.Load(ctx, s, paths...)
			if err != nil {
				return err
			}
			if o.depth > 0 {
				c = c.Within(o.depth, paths...)
			}
			return a.printGraph(ctx, c, o)
		},
	})
	cmd.Flags().BoolVar(&o.dot, "dot", false, "in the language of Graphviz")
	cmd.Flags().BoolVar(&o.svg, "svg", false, "as a picture")
	cmd.Flags().BoolVar(&o.graphML, "graphml", false, "in GraphML")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "an object of the references of each path, keyed by path")
	cmd.Flags().IntVar(&o.depth, "depth", 0, "only the paths up to `N` references away; 0 is all")
	freeValue(cmd, "depth")
	return cmd
}

func (o *graphOptions) check() error {
	formats := 0
	for _, is := range []bool{o.dot, o.svg, o.graphML, o.asJSON} {
		if is {
			formats++
		}
	}
	if formats > 1 {
		return errors.New("--dot, --svg, --graphml and --json exclude each other")
	}
	return nil
}

func (a *app) printGraph(ctx context.Context, c *closure.Closure, o graphOptions) error {
	switch {
	case o.svg:
		layout, err := c.Layout(ctx)
		if err != nil {
			return err
		}
		if layout.Simplified {
			fmt.Fprintf(a.stderr, "%d paths are many for a picture: lines may run across boxes\n", c.Len())
		}
		return layout.WriteSVG(a.stdout)
	case o.graphML:
		return c.WriteGraphML(a.stdout)
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
