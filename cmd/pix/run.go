package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newRun(a *app) *cobra.Command {
	var bin string
	cmd := &cobra.Command{
		Use:   "run INSTALLABLE [ARGS...]",
		Short: "Run a program of a store path, built first if it is missing",
		Long: `Run a program of a store path, or of the output of a derivation, which is built or substituted
if it is missing. The program is the path itself if that is an executable file, else the one in
its directory bin that has the name of the package, else the only program there.

If the files of the store are not at the store directory, as in the store of a user, the program
sees them there, and everything else of this machine as it is. That needs user namespaces (see
pix doctor), but not root. The path is not collected while the program runs.

Flags of pix come before INSTALLABLE; everything after it belongs to the program. pix exits with
the code of the program, or with 128 plus the number of the signal that ended it.`,
		Example:           "  pix run '/nix/store/...-hello.drv^out' --greeting hi",
		GroupID:           groupStore,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			rest := args[1:]
			if len(rest) > 0 && rest[0] == "--" {
				rest = rest[1:]
			}
			return a.withBuilt(cmd.Context(), args[:1], func(ctx context.Context, s store.Store, paths [][]storepath.Path) error {
				return a.runFirst(ctx, s, paths[0], bin, rest)
			})
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&bin, "bin", "", "the `name` of the program in bin")
	freeValue(cmd, "bin")
	return cmd
}

// runFirst runs the program of the first path that has one.
func (a *app) runFirst(ctx context.Context, s store.Store, paths []storepath.Path, bin string, args []string) error {
	p, err := placementOf(ctx, s, paths[0])
	if err != nil {
		return err
	}
	var first error
	for _, path := range paths {
		file, err := p.program(path, bin)
		if err == nil {
			return a.runProgram(ctx, p, file, args, os.Environ())
		}
		if first == nil {
			first = err
		}
	}
	return first
}
