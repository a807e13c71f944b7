package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pix/nar"
)

// lsOptions are the flags of ls and nar-ls.
type lsOptions struct {
	long, recursive, directory, json bool
}

func newNARLs(a *app) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:   "nar-ls NAR [PATH]",
		Short: "List an archive, or a directory or file in it",
		Long: `List an archive, or the directory or file at PATH in it, as 'nix nar ls' does. NAR may be
compressed with zstd, xz, gzip, bzip2, lzma, lz4 or brotli; - is standard input. PATH begins at
the root of the archive; symlinks are not followed.

The archive is checked to its end. If it is an uncompressed file, the contents of files are not
read.`,
		Example: "  pix nar-ls --long --recursive hello.nar.xz /share",
		GroupID: groupArchives,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.json && o.directory {
				return wrongUse(cmd, errors.New("--directory cannot be used with --json"))
			}
			path := "/"
			if len(args) == 2 {
				path = args[1]
			}
			return orInterrupted(cmd.Context(), func() error { return a.listArchive(cmd.Context(), args[0], path, o) })
		},
	}
	addLsFlags(cmd, &o)
	return cmd
}

func addLsFlags(cmd *cobra.Command, o *lsOptions) {
	flags := cmd.Flags()
	flags.BoolVarP(&o.long, "long", "l", false, "print the kind, the executable bit and the size")
	flags.BoolVarP(&o.recursive, "recursive", "R", false, "list subdirectories recursively")
	flags.BoolVarP(&o.directory, "directory", "d", false, "list a directory itself instead of its entries")
	flags.BoolVar(&o.json, "json", false, "as JSON, with the offsets of contents in the archive")
}

// depth returns how many levels are listed below the node at the path.
func (o *lsOptions) depth() int {
	switch {
	case o.recursive:
		return nar.MaxDepth
	case o.directory:
		return 0
	}
	return 1
}

// listArchive lists the node at path in the archive in a file.
func (a *app) listArchive(ctx context.Context, file, path string, o lsOptions) error {
	ar, err := a.openArchive(ctx, file)
	if err != nil {
		return err
	}
	defer ar.Close()
	return a.listIn(ar, path, o)
}

// listIn lists the node at path in an archive.
func (a *app) listIn(ar *archiveInput, path string, o lsOptions) error {
	finder := nar.NewFinder(path)
	list := a.newLister(finder, o)
	err := ar.list(finder, list, o.depth())
	if err == nil {
		err = ar.finish()
	}
	if err != nil {
		return errors.Join(list.abandon(), ar.wrap(err))
	}
	if !finder.Found() {
		return ar.wrap(notAFile(path, nar.Entry{}))
	}
	return list.end()
}
