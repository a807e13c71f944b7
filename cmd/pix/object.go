package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/store"
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
				return wrongUse(cmd, errors.New("standard output is a terminal, and an archive is no text: redirect it"))
			}
			return a.withObject(cmd.Context(), args[0], func(archive io.Reader, rest string) error {
				if rest != "" {
					return wrongUse(cmd, errors.New("an archive is that of a whole store path"))
				}
				_, err := io.Copy(a.stdout, archive)
				return err
			})
		},
	}
}

func newLs(a *app) *cobra.Command {
	var form lsForm
	cmd := &cobra.Command{
		Use:               "ls PATH",
		Short:             "List a store path, or a directory or file in it",
		Example:           "  pix ls --long /nix/store/...-hello/bin",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeInside),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withObject(cmd.Context(), args[0], func(archive io.Reader, rest string) error {
				return a.listIn(objectArchive(archive, args[0], rest), orRoot(rest), form)
			})
		},
	}
	addLsFlags(cmd, &form)
	return cmd
}

func newCat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "cat PATH...",
		Short:             "Write files in the store to standard output",
		Example:           "  pix cat /nix/store/...-hello/share/info/hello.info",
		GroupID:           groupStore,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeInside,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				err := a.withObject(cmd.Context(), arg, func(archive io.Reader, rest string) error {
					return a.catIn(objectArchive(archive, arg, rest), orRoot(rest))
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// objectArchive is the archive of the object in which the file lies that was given as arg.
func objectArchive(src io.Reader, arg, rest string) *archive {
	return &archive{Reader: nar.NewReader(src), name: "'" + arg[:len(arg)-len(rest)] + "'"}
}

func orRoot(rest string) string {
	if rest == "" {
		return "/"
	}
	return rest
}

// withObject opens the archive of the object in which a file lies. What work leaves of it is
// read too: at its end the store says whether it was the right one.
func (a *app) withObject(ctx context.Context, arg string, work func(archive io.Reader, rest string) error) error {
	dir, err := a.dir()
	if err != nil {
		return err
	}
	path, rest, err := dir.ParseInside(arg)
	if err != nil {
		return &usageError{err}
	}
	return a.withStore(ctx, func(ctx context.Context, s store.Store) error {
		archive, err := store.ReadNAR(ctx, s, path)
		if err != nil {
			return err
		}
		defer archive.Close()
		if err := work(archive, rest); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, archive)
		return err
	})
}
