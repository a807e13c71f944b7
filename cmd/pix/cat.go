package main

import (
	"io"

	"github.com/spf13/cobra"

	"pix/storepath"
)

func newCat(a *app) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "cat PATH...",
		Short: "Write files in the store to standard output",
		Long: `Write files in the store to standard output. Each archive is read and verified to its end, even
if it comes from a binary cache.`,
		Example:           "  pix cat /nix/store/...-hello/share/info/hello.info",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			return a.withArchives(cmd.Context(), args, func(object storepath.Path, archive io.Reader, inside string) error {
				return a.catIn(objectArchive(archive, object), orRoot(inside))
			})
		},
	}
	addStdinFlag(cmd, &stdin)
	return cmd
}
