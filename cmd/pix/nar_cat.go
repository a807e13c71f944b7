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

The archive is checked to its end. If it is an uncompressed file, nothing is written unless the
archive is valid, and only the contents of the one file are read.`,
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

// catIn writes the file at path in an archive to standard output.
func (a *app) catIn(ar *archiveInput, path string) error {
	finder := nar.NewFinder(path)
	var found nar.Entry
	for e, err := range ar.All() {
		if err != nil {
			return ar.wrap(err)
		}
		if finder.Match(e) != nar.IsNode {
			continue
		}
		found = e
		if ar.file == nil { // a stream cannot be read again
			if _, err := io.CopyBuffer(plainWriter{a.stdout}, ar, make([]byte, aheadPiece)); err != nil {
				return ar.wrapReading(err)
			}
		}
	}
	if err := ar.finish(); err != nil {
		return ar.wrap(err)
	}
	if found.Kind != nar.Regular {
		return ar.wrap(notAFile(path, found))
	}
	if ar.file == nil {
		return nil
	}
	if _, err := ar.file.Seek(ar.base+found.Offset, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(a.stdout, ar.file, int64(found.Size)) // the kernel copies the bytes, where it can
	return err
}

// A plainWriter hides the method ReadFrom of a writer, so that io.CopyBuffer uses the given buffer.
type plainWriter struct{ io.Writer }

// wrapReading adds the name of the archive to an error of the archive. Errors of writing to standard output stay as they
// are.
func (ar *archiveInput) wrapReading(err error) error {
	if _, inArchive := err.(*nar.Error); inArchive {
		return ar.wrap(err)
	}
	return err
}

// notAFile returns the error for a path at which there is no file in an archive. found is the entry at the path, if
// there is one.
func notAFile(path string, found nar.Entry) error {
	switch found.Kind {
	case nar.Directory:
		return fmt.Errorf("'%s' is a directory", path)
	case nar.Symlink:
		return fmt.Errorf("'%s' is a symlink to '%s', and symlinks are not followed", path, found.Target)
	}
	return fmt.Errorf("there is no '%s' in it", path)
}
