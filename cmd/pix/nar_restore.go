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
		Short: "Unpack the archive on standard input as DIR",
		Long: `Unpack the file, directory or symlink in the archive on standard input as DIR, which must not exist.
The archive may be compressed with zstd, xz, gzip, bzip2, lzma, lz4 or brotli.

DIR appears only when the whole archive has been read. After an error or Ctrl-C nothing is left.`,
		Example: "  pix nar-restore ./src < src.nar.xz",
		GroupID: groupArchives,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0])
		},
	}
}

// restore unpacks the archive on standard input as path.
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
