package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pix/nar"
)

func newNARCat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "nar-cat NAR PATH",
		Short: "Write a file out of an archive to standard output",
		Long: `Write a file out of an archive to standard output. NAR may be compressed with zstd, xz, gzip,
bzip2, lzma, lz4 or brotli; - is standard input. PATH begins at the root of the archive; symlinks
are not followed.

The archive is checked to its end. Where it is a file that is not compressed, nothing is
written unless it is valid, and no contents are read but those of the file.`,
		Example: "  pix nar-cat hello.nar.xz /share/info/hello.info",
		GroupID: groupArchives,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return orInterrupted(cmd.Context(), func() error { return a.catArchive(cmd.Context(), args[0], args[1]) })
		},
	}
}

func (a *app) catArchive(ctx context.Context, file, path string) error {
	ar, err := a.openArchive(ctx, file)
	if err != nil {
		return err
	}
	defer ar.Close()
	return a.catIn(ar, path)
}

// catIn writes the file at path in an archive.
func (a *app) catIn(ar *archive, path string) error {
	wanted := seek(path)
	var found nar.Entry
	for e, err := range ar.All() {
		if err != nil {
			return ar.failed(err)
		}
		if wanted.place(e) != there {
			continue
		}
		found = e
		if ar.file == nil {
			// There is no way back in a stream.
			if _, err := io.CopyBuffer(onlyWriter{a.stdout}, ar, make([]byte, aheadPiece)); err != nil {
				return ar.failedReading(err)
			}
		}
	}
	if err := ar.finish(); err != nil {
		return ar.failed(err)
	}
	if found.Kind != nar.Regular {
		return ar.failed(noFile(path, found))
	}
	if ar.file == nil {
		return nil
	}
	if _, err := ar.file.Seek(ar.base+found.Offset, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(a.stdout, ar.file, int64(found.Size)) // the kernel does it, if it can
	return err
}

// onlyWriter hides how else a writer could be written to, so that a buffer is used.
type onlyWriter struct{ io.Writer }

// failedReading says which archive an error of the archive is about. Those of standard
// output are passed on.
func (ar *archive) failedReading(err error) error {
	if _, inArchive := err.(*nar.Error); inArchive {
		return ar.failed(err)
	}
	return err
}

// noFile says why what was found at a path cannot be written.
func noFile(path string, found nar.Entry) error {
	switch found.Kind {
	case nar.Directory:
		return fmt.Errorf("'%s' is a directory", path)
	case nar.Symlink:
		return fmt.Errorf("'%s' is a symlink to '%s', and symlinks are not followed", path, found.Target)
	}
	return fmt.Errorf("there is no '%s' in it", path)
}
