package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"pix/storepath"
)

func newDump(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "dump PATH",
		Short:             "Write the archive (NAR) of a store path to standard output",
		Example:           "  pix dump /nix/store/...-hello > hello.nar",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isTerminal(a.stdout) {
				return wrongUse(cmd, errors.New("standard output is a terminal, and an archive is not text: redirect it"))
			}
			return a.withArchives(cmd.Context(), args, func(_ storepath.Path, archive io.Reader, inside string) error {
				if inside != "" {
					return wrongUse(cmd, errors.New("PATH must be a whole store path"))
				}
				_, err := io.Copy(a.stdout, archive)
				return err
			})
		},
	}
}
