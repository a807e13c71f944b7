package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newShell(a *app) *cobra.Command {
	var command bool
	cmd := &cobra.Command{
		Use:   "shell INSTALLABLE... [-c COMMAND ARGS...]",
		Short: "Start a shell that has programs of store paths",
		Long: `Start a shell in which the programs in the bin directories of the installables come first,
which are built or substituted if they are missing. The shell is $SHELL, by default /bin/sh.
With -c a command is run instead, with all words after it.

As with pix run, the store is seen at its store directory, its paths are not collected meanwhile,
and pix exits with the code of the shell or the command.`,
		Example:           "  pix shell '/nix/store/...-hello.drv^out' -c hello --greeting hi",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInstallables,
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var words []string
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, words = args[:dash], args[dash:]
			}
			switch {
			case len(args) == 0:
				return wrongUse(cmd, errors.New("INSTALLABLE is missing"))
			case command && len(words) == 0:
				return wrongUse(cmd, errors.New("the command after -c is missing"))
			}
			return a.withBuilt(cmd.Context(), args, func(ctx context.Context, s store.Store, paths [][]storepath.Path) error {
				return a.runShell(ctx, s, slices.Concat(paths...), words)
			})
		},
	}
	cmd.Flags().BoolVarP(&command, "command", "c", false, "run the command that follows, with its arguments, instead of a shell")
	return cmd
}

// endShellFlags returns the arguments of pix with -- after the flag -c of pix shell, so that the flags of the command
// are not taken for flags of pix.
func endShellFlags(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || cmd.Name() != "shell" {
		return args
	}
	i := slices.IndexFunc(args, func(arg string) bool { return arg == "-c" || arg == "--command" || arg == "--" })
	if i < 0 || args[i] == "--" {
		return args
	}
	return slices.Insert(slices.Clone(args), i+1, "--")
}

// runShell runs a command, or without one a shell, with the programs of the paths.
func (a *app) runShell(ctx context.Context, s store.Store, paths []storepath.Path, words []string) error {
	p, err := placementOf(ctx, s, paths[0])
	if err != nil {
		return err
	}
	var dirs []string
	for _, path := range paths {
		dirs = append(dirs, string(path)+"/bin")
	}
	if old := a.getenv("PATH"); old != "" {
		dirs = append(dirs, old)
	}
	searchPath := strings.Join(dirs, string(os.PathListSeparator))
	if len(words) == 0 {
		words = []string{cmp.Or(a.getenv("SHELL"), "/bin/sh")}
	}
	file := p.lookup(words[0], searchPath)
	if file == "" {
		return fmt.Errorf("there is no program '%s' in the packages or in $PATH", words[0])
	}
	return a.runProgram(ctx, p, file, words[1:], append(os.Environ(), "PATH="+searchPath))
}
