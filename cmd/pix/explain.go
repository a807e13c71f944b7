package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pix/explain"
	"pix/store"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	asJSON, full bool
}

func newExplain(a *app) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain DRV|PATH",
		Short: "Print how a store path is computed, step by step",
		Long: `Print how a store path is computed, step by step, with the texts that are hashed. For a derivation:
its text, the text in which the outputs are blank and the inputs replaced, with the reason for each
input, the modulo hash, and the path of each output. For a content-addressed object: the hash of its
contents, the inner text and the fingerprint. For any other object: its deriver. DRV may be a .drv
file that is not in the store. Long texts are cut: --full and --json have all of them. The exit code
is 1 if a computed path is not the one in the store or in the derivation.`,
		Example: "  pix explain /nix/store/...-hello.drv\n" +
			"  pix explain --full /nix/store/...-source",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeDrvFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDerivations(func(src *drvSource) error {
				e, err := explainArg(cmd.Context(), src, args[0])
				if err != nil {
					return err
				}
				return a.printExplanation(e, o)
			})
		},
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print an object with all steps")
	cmd.Flags().BoolVar(&o.full, "full", false, "do not cut long texts and lists")
	return cmd
}

// explainArg explains what an argument names.
func explainArg(ctx context.Context, src *drvSource, arg string) (*explain.Explanation, error) {
	if n, ok := src.name(arg); ok && !n.isDerivation() && n.built == nil {
		info, err := src.pathInfo(ctx, n)
		if err != nil {
			return nil, err
		}
		e, err := explain.Path(info)
		if !errors.As(err, new(*explain.NoContentAddressError)) {
			return e, err
		}
	}
	d, err := src.readNamed(ctx, arg)
	if err != nil {
		return nil, err
	}
	return explain.Derivation(ctx, d.path, d.Derivation, d.inputs)
}

// pathInfo returns the info of the store object that a name stands for.
func (src *drvSource) pathInfo(ctx context.Context, n storeName) (*store.PathInfo, error) {
	ctx = src.app.follow(ctx)
	s, err := src.open(ctx)
	if err != nil {
		return nil, err
	}
	path, err := objectOf(ctx, s, n)
	if err != nil {
		return nil, err
	}
	return s.QueryPathInfo(ctx, path)
}

// printExplanation prints an explanation.
func (a *app) printExplanation(e *explain.Explanation, o explainOptions) error {
	var err error
	if o.asJSON {
		err = a.printJSON(e)
	} else {
		err = a.print(string(e.AppendText(nil, &explain.TextOptions{Color: a.color.on(a.stdout, a.getenv), Full: o.full})))
	}
	if err == nil && len(e.Problems) > 0 {
		return &silentError{exitNo}
	}
	return err
}
