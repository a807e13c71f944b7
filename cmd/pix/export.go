package main

import (
	"bufio"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newExport(a *app) *cobra.Command {
	var closure bool
	cmd := newPathVerb(a, pathVerb{
		use:   "export PATH...",
		short: "Write paths to standard output, in one stream for import",
		long: `Write paths to standard output, in one stream that 'pix import' and 'nix-store --import' read, as
'nix-store --export' does: these paths alone, or with --closure all that they need, too. The
stream has no signatures, so whoever imports it must be trusted by the store.`,
		example: "  pix export --closure /nix/store/...-hello | ssh other pix import",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			if isTerminal(a.stdout) {
				return &usageError{errors.New("standard output is a terminal, and an export is no text: redirect it")}
			}
			if closure {
				known, err := loadClosure(ctx, s, paths...)
				if err != nil {
					return err
				}
				paths = sortedPaths(known)
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
	cmd.Flags().BoolVarP(&closure, "closure", "r", false, "also all that the paths refer to, and so on")
	return cmd
}
