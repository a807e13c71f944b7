package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/store"
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
				return wrongUse(cmd, errors.New("standard output is a terminal, and an archive is no text: redirect it"))
			}
			return a.withObjects(cmd.Context(), args, func(_ int, archive io.Reader, rest string) error {
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
	var stdin bool
	cmd := &cobra.Command{
		Use:               "ls PATH...",
		Short:             "List store paths, or directories and files in them",
		Long:              "List store paths, or directories and files in them. Of several each list comes after its PATH and a\ncolon.",
		Example:           "  pix ls --long /nix/store/...-hello/bin",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInside,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			if form.json && len(args) > 1 {
				return wrongUse(cmd, errors.New("--json is for one PATH"))
			}
			return a.withObjects(cmd.Context(), args, func(i int, archive io.Reader, rest string) error {
				if len(args) > 1 {
					if err := a.print(strings.Repeat("\n", min(i, 1)) + args[i] + ":\n"); err != nil {
						return err
					}
				}
				return a.listIn(objectArchive(archive, args[i], rest), orRoot(rest), form)
			})
		},
	}
	addLsFlags(cmd, &form)
	addStdinFlag(cmd, &stdin)
	return cmd
}

func newCat(a *app) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:               "cat PATH...",
		Short:             "Write files in the store to standard output",
		Example:           "  pix cat /nix/store/...-hello/share/info/hello.info",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInside,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			return a.withObjects(cmd.Context(), args, func(i int, archive io.Reader, rest string) error {
				return a.catIn(objectArchive(archive, args[i], rest), orRoot(rest))
			})
		},
	}
	addStdinFlag(cmd, &stdin)
	return cmd
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

// withObjects opens the archives of the objects in which files lie, one after the other, and
// calls work with the number of the file, the archive, and where in it the file is. What work
// leaves of an archive is read too: at its end the store says whether it was the right one.
func (a *app) withObjects(ctx context.Context, args []string, work func(i int, archive io.Reader, rest string) error) error {
	dir, err := a.dir()
	if err != nil {
		return err
	}
	paths, rests := make([]storepath.Path, len(args)), make([]string, len(args))
	for i, arg := range args {
		if paths[i], rests[i], err = dir.ParseInside(arg); err != nil {
			return &usageError{err}
		}
	}
	return a.withStore(ctx, func(ctx context.Context, s store.Store) error {
		for i, path := range paths {
			err := withArchive(ctx, s, path, func(archive io.Reader) error { return work(i, archive, rests[i]) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func withArchive(ctx context.Context, s store.Store, path storepath.Path, work func(io.Reader) error) error {
	archive, err := store.ReadNAR(ctx, s, path)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := work(archive); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, archive)
	return err
}
