package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/profile"
	"pix/store"
)

func newProfileSet(a *app, o *profileOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set PATH",
		Short: "Make a path the next generation of a profile",
		Long: `Make a path the next generation of a profile, and switch to it. If the newest generation has this
path already, switch to that one. Prints the symlink of the generation, which keeps the path from
being collected. A profile that does not exist is created.`,
		Example:           "  pix profile set --profile /nix/var/nix/profiles/system ./result",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.names(args)
			if err != nil {
				return err
			}
			p, err := a.profile(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
				if err := onThisMachine(ctx, s, "profiles are symlinks on that machine"); err != nil {
					return err
				}
				path, err := objectOf(ctx, s, names[0])
				if err != nil {
					return err
				}
				g, err := p.Set(ctx, s, path)
				if err != nil {
					return asUsage(err)
				}
				if err := a.linkDefaultProfile(ctx, o); err != nil {
					return err
				}
				return a.print(a.shown(g.Link) + "\n")
			})
		},
	}
	return cmd
}

// linkDefaultProfile creates ~/.nix-profile if the default profile was set.
func (a *app) linkDefaultProfile(ctx context.Context, o *profileOptions) error {
	if o.link != "" || a.getenv("NIX_PROFILE") != "" {
		return nil
	}
	l, err := a.locations(ctx)
	if err != nil {
		return err
	}
	return l.CreateLinks()
}

func newProfileSwitch(a *app, o *profileOptions) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:               "switch GENERATION",
		Aliases:           []string{"switch-generation"},
		Short:             "Switch a profile to another generation",
		Long:              "Switch a profile to another of its generations, older or newer. Prints the symlink of the\ngeneration.",
		Example:           "  pix profile switch 3",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeGenerations(o)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseGeneration(args[0])
			if err != nil {
				return err
			}
			find, change := toNumber(n)
			return a.switchProfile(cmd.Context(), o, dryRun, find, change)
		},
	}
	addSwitchDryRun(cmd, &dryRun)
	return cmd
}

// rollbackOptions are the flags of profile rollback.
type rollbackOptions struct {
	to     string
	dryRun bool
}

func newProfileRollback(a *app, o *profileOptions) *cobra.Command {
	var r rollbackOptions
	cmd := &cobra.Command{
		Use:     "rollback",
		Short:   "Switch a profile to the generation before the current one",
		Long:    "Switch a profile to the generation before the current one, or to another one. Prints the symlink of\nthe generation.",
		Example: "  pix profile rollback\n  pix profile rollback --to 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			find, change := generationFunc((*profile.Profile).Previous), generationFunc((*profile.Profile).Rollback)
			if r.to != "" {
				n, err := parseGeneration(r.to)
				if err != nil {
					return err
				}
				find, change = toNumber(n)
			}
			return a.switchProfile(cmd.Context(), o, r.dryRun, find, change)
		},
	}
	cmd.Flags().StringVar(&r.to, "to", "", "switch to the generation with this `number`")
	completeFlag(cmd, "to", a.completeGenerations(o))
	addSwitchDryRun(cmd, &r.dryRun)
	return cmd
}

func addSwitchDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print the generation, and do not switch")
}

// A generationFunc is a method of a profile that finds a generation, or switches to it.
type generationFunc func(p *profile.Profile, ctx context.Context) (profile.Generation, error)

// toNumber returns the functions that find the generation with a number, and switch to it.
func toNumber(n uint64) (find, change generationFunc) {
	find = func(p *profile.Profile, ctx context.Context) (profile.Generation, error) { return p.Generation(ctx, n) }
	change = func(p *profile.Profile, ctx context.Context) (profile.Generation, error) { return p.Switch(ctx, n) }
	return find, change
}

// switchProfile switches to a generation and prints its symlink, or with dryRun only finds and prints it.
func (a *app) switchProfile(ctx context.Context, o *profileOptions, dryRun bool, find, change generationFunc) error {
	p, err := a.profile(ctx, o)
	if err != nil {
		return err
	}
	if dryRun {
		change = find
	}
	g, err := change(p, a.follow(ctx))
	if err != nil {
		return profileError(err)
	}
	return a.print(a.shown(g.Link) + "\n")
}

// profileError adds to an error of a profile what the user can do.
func profileError(err error) error {
	if _, ok := errors.AsType[*profile.NotFoundError](err); ok {
		return fmt.Errorf("%w; name one with --profile, or make it with 'pix profile set PATH'", err)
	}
	if none, ok := errors.AsType[*profile.GenerationError](err); ok && none.Number != 0 {
		return fmt.Errorf("%w; 'pix profile history' lists the generations", err)
	}
	return asUsage(err)
}
