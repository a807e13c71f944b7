package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"pix/internal/compression"
	"pix/nar"
)

// An archiveInput is an archive that a verb reads, from a file, a stream or a store.
type archiveInput struct {
	*nar.Reader
	name string // for messages

	file *os.File // the uncompressed file, whose contents can be read at any offset; else nil
	base int64    // the offset of the archive in file

	stream *archiveStream // if the archive is compressed or is not in a regular file; else nil
}

// openArchive opens the archive in a file, or on standard input for "-". The archive may be compressed.
func (a *app) openArchive(ctx context.Context, file string) (*archiveInput, error) {
	src := a.stdin
	if file != "-" {
		f, err := openFile(ctx, file)
		if err != nil {
			return nil, err
		}
		src = f
	}
	if f, ok := src.(*os.File); ok {
		base, plain, err := isPlainArchive(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if plain {
			return &archiveInput{Reader: nar.NewReader(f), name: inputName(file), file: f, base: base}, nil
		}
	}
	stream := openStream(ctx, src)
	return &archiveInput{Reader: nar.NewReader(stream), name: inputName(file), stream: stream}, nil
}

// isPlainArchive reports whether an uncompressed archive begins at the current offset of a regular file, and
// returns that offset.
func isPlainArchive(f *os.File) (base int64, plain bool, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false, err
	}
	if base, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, false, err
	}
	head := make([]byte, len(nar.Prefix))
	_, err = f.ReadAt(head, base)
	if err == io.EOF {
		err = nil
	}
	return base, string(head) == nar.Prefix, err
}

// finish must be called at the end of the archive. It verifies what follows the archive in the input.
func (ar *archiveInput) finish() error {
	if ar.stream == nil {
		return nil
	}
	return ar.stream.finish()
}

// Close closes the file or the stream.
func (ar *archiveInput) Close() error {
	if ar.stream != nil {
		return ar.stream.Close()
	}
	return ar.file.Close()
}

// wrap adds the name of the archive to an error.
func (ar *archiveInput) wrap(err error) error { return fmt.Errorf("%s: %w", ar.name, err) }

// An archiveStream reads an archive from a stream, and decompresses it if needed.
type archiveStream struct {
	*aheadReader
	src     io.Reader
	decoder *compression.Reader
}

// openStream returns a reader of the archive in src, until ctx ends.
func openStream(ctx context.Context, src io.Reader) *archiveStream {
	decoder := compression.NewReader(src, nar.Prefix)
	return &archiveStream{readAhead(ctx, decoder), src, decoder}
}

// finish must be called at the end of the archive. The checksum of a compressed stream comes after the last byte of
// the archive, so it is verified only if the stream is read to its end.
func (s *archiveStream) finish() error {
	if s.decoder.IsPlain() {
		return nil
	}
	_, err := io.Copy(io.Discard, s.aheadReader)
	return err
}

// Close stops reading and closes the source.
func (s *archiveStream) Close() error {
	err := s.aheadReader.Close()
	if c, ok := s.src.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}
