package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

func newWhyDepends(a *app) *cobra.Command {
	var all, dot, asJSON bool
	cmd := &cobra.Command{
		Use:   "why-depends A B",
		Short: "Print by which references A needs B",
		Long: `Print by which references A needs B: the shortest chain of paths, and below each the files in which
the reference to the next stands. With --all, all references that lie between, a line each.
The exit code is 1 if A does not need B.`,
		Example:           "  pix why-depends /nix/store/...-hello /nix/store/...-glibc-2.40",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dot && asJSON {
				return wrongUse(cmd, errors.New("--dot and --json exclude each other"))
			}
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				known, err := loadClosure(ctx, s, paths[0])
				if err != nil {
					return err
				}
				if known[paths[1]] == nil {
					return fmt.Errorf("'%s' does not need '%s'", paths[0], paths[1])
				}
				if all || dot {
					return a.printBetween(edgesBetween(known, paths[0], paths[1]), dot, asJSON)
				}
				links, err := chainLinks(ctx, s, shortestChain(known, paths[0], paths[1]))
				if err != nil {
					return err
				}
				return a.printEither(chainText(links), links, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print all references that lie between, not only the shortest chain")
	cmd.Flags().BoolVar(&dot, "dot", false, "print these as a graph in the language of Graphviz")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects")
	return cmd
}

// shortestChain returns the paths on a shortest way from one path to another, which must be
// in its closure.
func shortestChain(known map[storepath.Path]*store.PathInfo, from, to storepath.Path) []storepath.Path {
	comesFrom := map[storepath.Path]storepath.Path{from: ""}
	for level := []storepath.Path{from}; comesFrom[to] == "" && to != from; {
		var next []storepath.Path
		for _, p := range level {
			for _, ref := range known[p].References {
				if _, seen := comesFrom[ref]; !seen {
					comesFrom[ref] = p
					next = append(next, ref)
				}
			}
		}
		level = next
	}
	var chain []storepath.Path
	for p := to; p != ""; p = comesFrom[p] {
		chain = append(chain, p)
	}
	slices.Reverse(chain)
	return chain
}

// An edge is a reference.
type edge struct {
	From storepath.Path `json:"from"`
	To   storepath.Path `json:"to"`
}

// edgesBetween returns the references that lie on any way from one path to another, sorted.
func edgesBetween(known map[storepath.Path]*store.PathInfo, from, to storepath.Path) []edge {
	referrers := make(map[storepath.Path][]storepath.Path)
	for p, info := range known {
		for _, ref := range info.References {
			if ref != p {
				referrers[ref] = append(referrers[ref], p)
			}
		}
	}
	var edges []edge
	seen := map[storepath.Path]bool{to: true}
	for todo := []storepath.Path{to}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p == from {
			continue
		}
		for _, r := range referrers[p] {
			edges = append(edges, edge{r, p})
			if !seen[r] {
				seen[r] = true
				todo = append(todo, r)
			}
		}
	}
	sort.Slice(edges, func(i, j int) bool {
		a, b := edges[i], edges[j]
		return a.From < b.From || a.From == b.From && a.To < b.To
	})
	return edges
}

func (a *app) printBetween(edges []edge, dot, asJSON bool) error {
	if asJSON {
		return a.printJSON(append([]edge{}, edges...))
	}
	var b strings.Builder
	if dot {
		b.WriteString("digraph {\n")
	}
	for _, e := range edges {
		if dot {
			fmt.Fprintf(&b, "  %q -> %q;\n", e.From.Base(), e.To.Base())
		} else {
			fmt.Fprintf(&b, "%s -> %s\n", e.From, e.To)
		}
	}
	if dot {
		b.WriteString("}\n")
	}
	return a.print(b.String())
}

// A link is a path of a chain, and in which of its files the next stands.
type link struct {
	Path  storepath.Path `json:"path"`
	Files []string       `json:"files"`
}

// chainLinks finds the files of each path of a chain.
func chainLinks(ctx context.Context, s store.Store, chain []storepath.Path) (links []link, err error) {
	links = make([]link, len(chain))
	for i, p := range chain {
		links[i] = link{p, []string{}}
		if i == len(chain)-1 {
			break
		}
		files, err := filesWith(ctx, s, p, chain[i+1])
		if err != nil {
			return nil, err
		}
		links[i].Files = append(links[i].Files, files...)
	}
	return links, nil
}

// chainText spells a chain, each path deeper than the one before.
func chainText(links []link) string {
	var b strings.Builder
	for i, l := range links {
		indent := strings.Repeat("  ", i)
		fmt.Fprintf(&b, "%s%s\n", indent, l.Path)
		for _, f := range l.Files {
			fmt.Fprintf(&b, "%s  %s\n", indent, f)
		}
	}
	return b.String()
}

// filesWith returns the files of an object in which a reference stands, and the symlinks
// that point to it.
func filesWith(ctx context.Context, s store.Store, object, ref storepath.Path) ([]string, error) {
	archive, err := store.ReadNAR(ctx, s, object)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	r := nar.NewReader(archive)
	var files []string
	for entry, err := range r.All() {
		if err != nil {
			return nil, err
		}
		scanner := nar.NewRefScanner([]storepath.Path{ref})
		switch entry.Kind {
		case nar.Regular:
			if _, err := io.Copy(scanner, r); err != nil {
				return nil, err
			}
		case nar.Symlink:
			io.WriteString(scanner, entry.Target)
		}
		if len(scanner.Found()) > 0 {
			files = append(files, fileName(r.Path(), entry))
		}
	}
	_, err = io.Copy(io.Discard, archive) // to its end, where it is known whether it was the right one
	return files, err
}

// fileName names a node of an object for people: a slash is the object itself.
func fileName(path string, entry nar.Entry) string {
	name := "/" + path
	if entry.Kind == nar.Symlink {
		name += " -> " + entry.Target
	}
	return strings.ReplaceAll(name, "\n", `\n`)
}
