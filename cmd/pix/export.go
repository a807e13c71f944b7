package main

import (
	"bufio"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

func newExport(a *app) *cobra.Command {
	var whole bool
	cmd := newPathVerb(a, pathVerb{
		use:   "export PATH...",
		short: "Write paths to standard output, in one stream for import",
		long: `Write paths to standard output, in one stream that 'pix import' and 'nix-store --import' read, as
'nix-store --export' does: these paths alone, or with --closure also everything that they need. The
stream has no signatures, so the user who imports it must be trusted by the store.`,
		example: "  pix export --closure /nix/store/...-hello | ssh other pix import",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			if isTerminal(a.stdout) {
				return &usageError{errors.New("standard output is a terminal, and an export is not text: redirect it")}
			}
			if whole {
				c, err := closure.Load(ctx, s, paths...)
				if err != nil {
					return err
				}
				paths = c.Paths()
			}
			out := bufio.NewWriterSize(a.stdout, 64<<10)
			return orInterrupted(ctx, func() error {
				if err := store.ExportPaths(ctx, out, s, paths); err != nil {
					return err
				}
				return out.Flush()
			})
		},
	})
	cmd.Flags().BoolVarP(&whole, "closure", "r", false, "export the closure of the paths")
	return cmd
}
