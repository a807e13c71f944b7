package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/profile"
	"pix/store"
)

func newProfileDiff(a *app, o *profileOptions) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "diff [A [B]]",
		Aliases: []string{"diff-closures"},
		Short:   "Print how the closures of generations differ",
		Long: `Print how the closure of generation B differs from the closure of A, as 'pix diff' does. B is the
current generation by default. Without A, print the differences between each generation and the
next. Generations whose path is not in the store are left out, with a note.`,
		Example:           "  pix profile diff\n  pix profile diff 3",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: atMost(2, a.completeGenerations(o)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.profile(cmd.Context(), o)
			if err != nil {
				return err
			}
			generations, err := diffedGenerations(cmd.Context(), p, args)
			if err != nil {
				return profileError(err)
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				return a.diffGenerations(ctx, s, generations, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects with from, to and the difference")
	return cmd
}

// diffedGenerations returns the generations that the arguments name, in the order of comparison.
func diffedGenerations(ctx context.Context, p *profile.Profile, args []string) ([]profile.Generation, error) {
	if len(args) == 0 {
		return p.Generations(ctx)
	}
	var chosen []profile.Generation
	for _, number := range append(args, "")[:2] { // "" is the current one
		g, err := chosenGeneration(ctx, p, number)
		if err != nil {
			return nil, err
		}
		if _, err := contents(g); err != nil {
			return nil, err
		}
		chosen = append(chosen, g)
	}
	return chosen, nil
}

// generationDiffJSON is a difference in the output of profile diff --json.
type generationDiffJSON struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	*closureDiffJSON
}

// diffGenerations prints the differences between each of the generations and the next.
func (a *app) diffGenerations(ctx context.Context, s store.Store, generations []profile.Generation, asJSON bool) error {
	objects := []generationDiffJSON{}
	var b strings.Builder
	var before *closure.Closure
	var previous uint64
	for _, g := range generations {
		if g.Path == "" {
			a.leftOut(g, "it does not point into the store")
			continue
		}
		after, err := closure.Load(ctx, s, g.Path)
		if errors.Is(err, store.ErrNotFound) {
			a.leftOut(g, "it is not in the store")
			continue
		}
		if err != nil {
			return err
		}
		if before != nil {
			d := closure.Compare(before, after)
			objects = append(objects, generationDiffJSON{previous, g.Number, newClosureDiffJSON(d)})
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "%d -> %d:\n%s", previous, g.Number, indented(closureDiffText(d)))
		}
		before, previous = after, g.Number
	}
	return a.printEither(b.String(), objects, asJSON)
}

// leftOut prints a note about a generation that cannot be compared.
func (a *app) leftOut(g profile.Generation, because string) {
	fmt.Fprintf(a.stderr, "pix: note: generation %d is left out: %s\n", g.Number, because)
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
