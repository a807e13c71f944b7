package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// whyDependsOptions are the flags of why-depends.
type whyDependsOptions struct {
	all, dot, asJSON bool
}

func newWhyDepends(a *app) *cobra.Command {
	var o whyDependsOptions
	cmd := &cobra.Command{
		Use:   "why-depends A B",
		Short: "Print by which references A needs B",
		Long: `Print by which references A needs B: the shortest chain of paths, and below each path the files that
contain the reference to the next. With --all, all references on all chains from A to B, a line
each. The exit code is 1 if A does not need B.`,
		Example:           "  pix why-depends /nix/store/...-hello /nix/store/...-glibc-2.40",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.dot && o.asJSON {
				return wrongUse(cmd, errors.New("--dot and --json exclude each other"))
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				paths, err := twoObjects(ctx, s, names)
				if err != nil {
					return err
				}
				return a.printWhy(ctx, s, paths[0], paths[1], o)
			})
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "print all references on all chains, not only the shortest chain")
	cmd.Flags().BoolVar(&o.dot, "dot", false, "print these as a graph in the language of Graphviz")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print a list of objects")
	return cmd
}

func (a *app) printWhy(ctx context.Context, s store.Store, from, to storepath.Path, o whyDependsOptions) error {
	c, err := closure.Load(ctx, s, from)
	if err != nil {
		return err
	}
	chain := c.Why(from, to)
	if chain == nil {
		return fmt.Errorf("'%s' does not need '%s'", from, to)
	}
	switch {
	case o.dot:
		return closure.WriteDOT(a.stdout, c.Between(from, to))
	case o.all:
		return a.printEdges(c.Between(from, to), o.asJSON)
	}
	links, err := chainLinks(ctx, s, chain)
	if err != nil {
		return err
	}
	return a.printEither(a.chainText(links), links, o.asJSON)
}

// A graphEdgeJSON is a reference in the output of why-depends --all --json.
type graphEdgeJSON struct {
	From storepath.Path `json:"from"`
	To   storepath.Path `json:"to"`
}

func (a *app) printEdges(edges []closure.Edge, asJSON bool) error {
	objects := make([]graphEdgeJSON, len(edges))
	var b strings.Builder
	for i, e := range edges {
		objects[i] = graphEdgeJSON(e)
		fmt.Fprintf(&b, "%s -> %s\n", e.From, e.To)
	}
	return a.printEither(b.String(), objects, asJSON)
}

// A chainLink is a path of a chain, with its files that contain the reference to the next path.
type chainLink struct {
	Path  storepath.Path `json:"path"`
	Files []string       `json:"files"`
}

// chainLinks reads the archive of each path of a chain except the last.
func chainLinks(ctx context.Context, s store.Store, chain []storepath.Path) ([]chainLink, error) {
	links := make([]chainLink, len(chain))
	for i, p := range chain {
		links[i] = chainLink{p, []string{}}
		if i == len(chain)-1 {
			break
		}
		mentions, err := closure.FindReferences(ctx, s, p, chain[i+1])
		if err != nil {
			return nil, err
		}
		for _, m := range mentions {
			links[i].Files = append(links[i].Files, mentionText(m))
		}
	}
	return links, nil
}

// chainText returns the chain as text, in which each path is indented more than the one before.
func (a *app) chainText(links []chainLink) string {
	var b strings.Builder
	for i, l := range links {
		indent := strings.Repeat("  ", i)
		fmt.Fprintf(&b, "%s%s\n", indent, l.Path)
		for _, f := range l.Files {
			fmt.Fprintf(&b, "%s  %s\n", indent, a.shown(f))
		}
	}
	return b.String()
}

// mentionText returns the name of a file in an object, which begins with a slash, and the target of a symlink.
func mentionText(m closure.Mention) string {
	name := "/" + m.File
	if m.Target != "" {
		name += " -> " + m.Target
	}
	return oneLine(name)
}
