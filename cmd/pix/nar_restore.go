package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/nar"
)

func newNARRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "nar-restore DIR",
		Short: "Make what is in the archive on standard input, under the name DIR",
		Long: `Make the file, directory or symlink that is in the archive on standard input, under the name
DIR, where nothing may be yet. The archive may be compressed with zstd, xz, gzip,
bzip2, lzma, lz4 or brotli.

Nothing is to be seen under the name before the archive was read to its end. After an error,
or Ctrl-C, nothing is left.`,
		Example: "  pix nar-restore ./src < src.nar.xz",
		GroupID: groupArchives,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0])
		},
	}
}

// restore makes what is in the archive on standard input under the name path.
func (a *app) restore(ctx context.Context, path string) error {
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("'%s' exists already", path)
	}
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	stream := openStream(ctx, a.stdin)
	defer stream.aheadReader.Close()
	err = nar.Restore(ctx, parent, filepath.Base(path), stream, &nar.RestoreOptions{Check: stream.finish})
	var inPath *fs.PathError
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &inPath) && inPath.Op == "restore":
		return err
	}
	return fmt.Errorf("%s: %w", stdinName, err)
}
