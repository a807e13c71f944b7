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
			return a.withObjects(cmd.Context(), args, func(_ storepath.Path, archive io.Reader, rest string) error {
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
		Use:   "ls PATH...",
		Short: "List store paths, or directories and files in them",
		Long: `List store paths, or directories and files in them. Of several each list comes after its PATH and a
colon.

Some binary caches have a listing beside each archive, which is printed without fetching the
archive. No signature covers it: to be sure, pipe 'pix dump PATH' into 'pix nar-ls -'.`,
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
			return a.withInside(cmd.Context(), args, func(ctx context.Context, s store.Store, i int, path storepath.Path, rest string) error {
				if len(args) > 1 {
					if err := a.print(strings.Repeat("\n", min(i, 1)) + args[i] + ":\n"); err != nil {
						return err
					}
				}
				return a.listObject(ctx, s, path, rest, form)
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
		Use:   "cat PATH...",
		Short: "Write files in the store to standard output",
		Long: `Write files in the store to standard output. Each archive is read and verified to its end, also
where a binary cache has it.`,
		Example:           "  pix cat /nix/store/...-hello/share/info/hello.info",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInside,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			return a.withObjects(cmd.Context(), args, func(path storepath.Path, archive io.Reader, rest string) error {
				return a.catIn(objectArchive(archive, path), orRoot(rest))
			})
		},
	}
	addStdinFlag(cmd, &stdin)
	return cmd
}

// objectArchive is the archive of an object.
func objectArchive(src io.Reader, path storepath.Path) *archive {
	return &archive{Reader: nar.NewReader(src), name: objectName(path)}
}

// objectName is what an object is called in messages.
func objectName(path storepath.Path) string { return "'" + string(path) + "'" }

func orRoot(rest string) string {
	if rest == "" {
		return "/"
	}
	return rest
}

// withInside calls work with the number of each file, the object in which it lies, and where in
// it.
func (a *app) withInside(ctx context.Context, args []string, work func(ctx context.Context, s store.Store, i int, path storepath.Path, rest string) error) error {
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
	return a.withStore(ctx, toRead, func(ctx context.Context, s store.Store) error {
		for i, path := range paths {
			if err := work(ctx, s, i, path, rests[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// withObjects opens the archives of the objects in which files lie, one after the other, and
// calls work with the object, its archive, and where in it the file is.
func (a *app) withObjects(ctx context.Context, args []string, work func(path storepath.Path, archive io.Reader, rest string) error) error {
	return a.withInside(ctx, args, func(ctx context.Context, s store.Store, _ int, path storepath.Path, rest string) error {
		return withArchive(ctx, s, path, func(archive io.Reader) error { return work(path, archive, rest) })
	})
}

// withArchive calls work with the archive of an object. What work leaves of it is read too: at
// its end the store says whether it was the right one.
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
