package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/daemon"
	"pix/store"
)

func newAddRoot(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "add-root LINK PATH",
		Short: "Make a symlink to a path that keeps it from being collected",
		Long: `Make a symlink to a path. As long as the symlink exists, the path and its closure are not collected.
Prints the absolute name of the symlink. An existing symlink into the store is replaced atomically;
any other file with that name is an error.`,
		Example: "  pix add-root ./keep /nix/store/...-hello",
		GroupID: groupKeeping,
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, files
			}
			return atMost(2, a.completePaths)(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.names(args[1:])
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
				if err := onThisMachine(ctx, s, "roots are symlinks on that machine"); err != nil {
					return err
				}
				path, err := objectOf(ctx, s, names[0])
				if err != nil {
					return err
				}
				var link string
				err = store.InSession(ctx, s, func(s store.Store) (err error) {
					link, err = store.AddRoot(ctx, s, args[0], path)
					return err
				})
				if err != nil {
					return err
				}
				return a.print(link + "\n")
			})
		},
	}
}

// onThisMachine returns an error if s is the store of another machine. because is the reason for the message.
func onThisMachine(ctx context.Context, s store.Store, because string) error {
	pool, ok := store.As[*daemon.Pool](s)
	if !ok {
		return nil
	}
	info, err := pool.Info(ctx)
	if err != nil {
		return err
	}
	if strings.HasPrefix(info.Addr, "ssh-ng://") {
		return &unknownError{fmt.Errorf("the store %s is on another machine, and %s: run pix there", info.Addr, because)}
	}
	return nil
}
