package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pix/profile"
)

func newProfileDelete(a *app, o *profileOptions) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "delete-generations GENERATION...",
		Short: "Delete generations of a profile",
		Long: `Delete generations of a profile. The current generation is never deleted. Each GENERATION is a
number; or there is one of these instead:

  old   all generations, also newer ones
  30d   those that were created more than 30 days ago, except the newest of
        them, which was in use 30 days ago
  +5    all but the last 5, counted from the current one; newer ones are kept

Prints the symlinks of the deleted generations. 'pix gc' deletes what they have kept.`,
		Example: "  pix profile delete-generations 3 4 8\n  pix profile delete-generations +5 --dry-run",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			words, directive := a.completeGenerations(o)(cmd, args, word)
			if len(args) == 0 {
				words = append(words, "old", "30d", "+5")
			}
			return words, directive
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			sel, err := profile.ParseSelection(args, time.Now())
			if err != nil {
				return wrongUse(cmd, err)
			}
			return a.deleteGenerations(cmd.Context(), o, sel, dryRun, args)
		},
	}
	addDeleteDryRun(cmd, &dryRun)
	return cmd
}

func newProfileWipe(a *app, o *profileOptions) *cobra.Command {
	var dryRun bool
	var age string
	cmd := &cobra.Command{
		Use:   "wipe-history",
		Short: "Delete all generations of a profile except the current one",
		Long: `Delete all generations of a profile except the current one, also newer ones. With --older-than 30d
those that were created more than 30 days ago, except the newest of them. Prints the symlinks of
the deleted generations.`,
		Example: "  pix profile wipe-history --older-than 30d",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sel, err := oldSelection(age)
			if err != nil {
				return wrongUse(cmd, err)
			}
			return a.deleteGenerations(cmd.Context(), o, sel, dryRun, nil)
		},
	}
	cmd.Flags().StringVar(&age, "older-than", "", "only generations older than this `age`, a number of days such as 30d")
	freeValue(cmd, "older-than")
	addDeleteDryRun(cmd, &dryRun)
	return cmd
}

func addDeleteDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print what would be deleted, and delete nothing")
}

// oldSelection selects the generations older than an age, or all old ones if there is none.
func oldSelection(age string) (profile.Selection, error) {
	if age == "" {
		return profile.Old(), nil
	}
	t, err := profile.ParseAge(age, time.Now())
	return profile.OlderThan(t), err
}

// deleteGenerations deletes generations and prints their symlinks. It prints a note for each of words that is the number of
// no generation.
func (a *app) deleteGenerations(ctx context.Context, o *profileOptions, sel profile.Selection, dryRun bool, words []string) error {
	p, err := a.profile(ctx, o)
	if err != nil {
		return err
	}
	remove := p.Delete
	if dryRun {
		remove = p.Select
	}
	deleted, err := remove(a.follow(ctx), sel)
	for _, g := range deleted {
		if err := a.print(a.shown(g.Link) + "\n"); err != nil {
			return err
		}
	}
	if err != nil {
		return profileError(err)
	}
	for _, word := range words {
		n, err := strconv.ParseUint(word, 10, 64)
		if err == nil && word[0] != '+' && !slices.ContainsFunc(deleted, func(g profile.Generation) bool { return g.Number == n }) {
			fmt.Fprintf(a.stderr, "pix: note: there is no generation %d\n", n)
		}
	}
	end := "deleted"
	if dryRun {
		end = "would be deleted"
	}
	fmt.Fprintf(a.stderr, "%s %s\n", counted(len(deleted), "generation"), end)
	return nil
}
