package main

import (
	"errors"

	"github.com/spf13/cobra"

	"pix/nar"
)

func newNARDump(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "nar-dump PATH",
		Short:   "Write the archive (NAR) of a file, directory or symlink",
		Example: "  pix nar-dump ./src > src.nar",
		GroupID: groupArchives,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isTerminal(a.stdout) {
				return wrongUse(cmd, errors.New("standard output is a terminal, and an archive is not text: redirect it"))
			}
			limitMemory()
			file, remove, err := a.asFile(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer remove()
			return orInterrupted(cmd.Context(), func() error { return nar.Dump(cmd.Context(), a.stdout, file, nil) })
		},
	}
}
