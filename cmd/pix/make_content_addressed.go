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
		Example:           "  pix make-content-addressed --to /srv/store --rules 2.36 /nix/store/...-hello",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePathsOf(&o.from),
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, o.stdin)
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.makeContentAddressed(cmd, names, o)
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

func (a *app) makeContentAddressed(cmd *cobra.Command, names []storeName, o makeContentAddressedOptions) error {
	if o.rules != "" {
		if _, err := store.ParseRules(o.rules); err != nil {
			return wrongUse(cmd, err)
		}
	}
	paths, copies, err := a.copyContentAddressed(cmd.Context(), names, o)
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

// copyContentAddressed returns the named paths, and the new path of each path in their closure.
func (a *app) copyContentAddressed(ctx context.Context, names []storeName, o makeContentAddressedOptions) (paths []storepath.Path, copies map[storepath.Path]storepath.Path, err error) {
	err = a.withTwoStores(ctx, o.from, o.to, func(ctx context.Context, src, dst store.Store) error {
		if paths, err = objectsOf(ctx, src, names); err != nil {
			return err
		}
		rules := store.RulesOf(dst)
		if o.rules != "" {
			var err error
			if rules, err = store.ParseRules(o.rules); err != nil {
				return err
			}
		}
		err := store.InSession(ctx, dst, func(dst store.Store) (err error) {
			copies, err = store.MakeContentAddressed(ctx, dst, src, paths, rules)
			return err
		})
		if hasOtherAddress(err) {
			err = fmt.Errorf("%w\n%s", err, otherAddressAdvice)
		}
		return err
	})
	return paths, copies, err
}
