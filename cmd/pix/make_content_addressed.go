package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

// makeContentAddressedOptions are the flags of make-content-addressed.
type makeContentAddressedOptions struct {
	from, to, rules string
	stdin, asJSON   bool
}

func newMakeContentAddressed(a *app) *cobra.Command {
	var o makeContentAddressedOptions
	cmd := &cobra.Command{
		Use:   "make-content-addressed PATH...",
		Short: "Make copies of paths whose names follow from their contents",
		Long: `Make a copy of each path and of everything in its closure, under names that follow from the
contents, as 'nix store make-content-addressed' does. In the copies the new paths replace the
old ones. Such paths need no signature. Prints the new path of each path given.

Nix 2.17 to 2.34 and all other versions compute different names for objects that refer to
themselves, and refuse each other's. --rules selects the rules: 2.34 or 2.36.`,
		Example:           "  pix make-content-addressed --to ssh-ng://builder --rules 2.36 /nix/store/...-hello",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePathsOf(&o.from),
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, o.stdin)
			if err != nil {
				return err
			}
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			return a.makeContentAddressed(cmd, paths, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "the `URI` of the store to copy from")
	flags.StringVar(&o.to, "to", "", "the `URI` of the store to copy to")
	flags.StringVar(&o.rules, "rules", "", "the `version` of Nix to follow (default: the rules of the destination)")
	completeFlag(cmd, "from", completeURIs)
	completeFlag(cmd, "to", completeURIs)
	cmd.RegisterFlagCompletionFunc("rules", cobra.FixedCompletions([]string{"2.34", "2.36"}, cobra.ShellCompDirectiveNoFileComp))
	addStdinFlag(cmd, &o.stdin)
	flags.BoolVar(&o.asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) makeContentAddressed(cmd *cobra.Command, paths []storepath.Path, o makeContentAddressedOptions) error {
	if o.rules != "" {
		if _, err := store.ParseRules(o.rules); err != nil {
			return wrongUse(cmd, err)
		}
	}
	copies, err := a.copyContentAddressed(cmd.Context(), paths, o)
	if err != nil {
		return err
	}
	if o.asJSON {
		rewrites := make(map[storepath.Path]storepath.Path, len(paths))
		for _, p := range paths {
			rewrites[p] = copies[p]
		}
		return a.printJSON(map[string]any{"rewrites": rewrites})
	}
	for _, p := range paths {
		if err := a.print(string(copies[p]) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// copyContentAddressed returns the new path of each path in the closure.
func (a *app) copyContentAddressed(ctx context.Context, paths []storepath.Path, o makeContentAddressedOptions) (map[storepath.Path]storepath.Path, error) {
	ctx = a.follow(ctx)
	src, err := a.openWith(ctx, openOptions{uri: o.from, access: toRead})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dst, err := a.openWith(ctx, openOptions{uri: o.to, access: toCreate})
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	rules := store.RulesOf(dst)
	if o.rules != "" {
		if rules, err = store.ParseRules(o.rules); err != nil {
			return nil, err
		}
	}
	var copies map[storepath.Path]storepath.Path
	err = store.InSession(ctx, dst, func(dst store.Store) (err error) {
		copies, err = store.MakeContentAddressed(ctx, dst, src, paths, rules)
		return err
	})
	if hasOtherAddress(err) {
		err = fmt.Errorf("%w\n%s", err, otherAddressAdvice)
	}
	return copies, err
}
