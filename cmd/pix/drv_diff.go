package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/derivation"
)

// drvDiffOptions are the flags of drv-diff.
type drvDiffOptions struct {
	asJSON bool
	depth  int // -1 for all levels
}

func newDrvDiff(a *app) *cobra.Command {
	var o drvDiffOptions
	cmd := &cobra.Command{
		Use:   "drv-diff A B",
		Short: "Print the differences between two .drv files and their inputs",
		Long: `Print the differences between two .drv files: in their outputs, platform, builder, arguments,
environment, sources and inputs; then the differences between inputs with the same name, and so on.
Inputs are looked for in the directory of each file, or in the store for a store path that is not a
file on this machine; a missing input is reported. Each pair is compared once. The line
that begins with because names the differences that follow from no other. A text that differs only
in the paths of outputs, or of inputs and sources that differ, is only named. Sources are compared
by their contents if the store has them. The exit code is 0 if nothing differs, else 1.`,
		Example:           "  pix drv-diff /nix/store/...-hello-2.10.drv /nix/store/...-hello-2.12.drv",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completeDrvFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDerivations(func(src *drvSource) error { return a.diffFiles(cmd.Context(), src, args, o) })
		},
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print the differences as JSON")
	cmd.Flags().IntVar(&o.depth, "depth", -1, "compare only `N` levels of inputs (default all)")
	cmd.Flags().Lookup("depth").DefValue = "0" // the help then omits the default, which is in the text
	freeValue(cmd, "depth")
	return cmd
}

// derivationOptions returns the options for package derivation, in which 0 is all levels and -1 none.
func (o *drvDiffOptions) derivationOptions() *derivation.DiffOptions {
	switch {
	case o.depth == 0:
		return &derivation.DiffOptions{Depth: -1}
	case o.depth < 0:
		return &derivation.DiffOptions{Depth: 0}
	}
	return &derivation.DiffOptions{Depth: o.depth}
}

// diffFiles compares two derivations and prints the difference. The error is an [unknownError] if one of them cannot be read.
func (a *app) diffFiles(ctx context.Context, src *drvSource, files []string, o drvDiffOptions) error {
	var both [2]*sourceDrv
	for i, file := range files {
		var err error
		if both[i], err = src.readNamed(ctx, file); err != nil {
			return &unknownError{err}
		}
	}
	d, err := derivation.DiffClosure(ctx, both[0].Derivation, both[0].inputs, both[1].Derivation, both[1].inputs, o.derivationOptions())
	if err != nil {
		return err
	}
	d.A, d.B = both[0].path, both[1].path
	var text string
	if o.asJSON {
		text, err = drvDiffJSON(d)
	} else {
		text = drvDiffText(d, &sourceComparer{ctx, src}, a.color.on(a.stdout, a.getenv))
	}
	if err != nil {
		return err
	}
	if err := a.print(text); err != nil {
		return err
	}
	if !d.IsEmpty() {
		return &silentError{exitNo}
	}
	return nil
}
