package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"pix/internal/compression"
	"pix/nar"
)

// plainArchive is what an archive begins with that is not compressed.
const plainArchive = "\x0d\x00\x00\x00\x00\x00\x00\x00" + nar.Magic

// An archive is one that is being read, whether it is compressed or not.
type archive struct {
	*nar.Reader
	name string // for messages

	file *os.File // if single files can be got at
	base int64    // where it begins in file

	stream *archiveStream // otherwise
}

// openArchive opens the archive in a file, or in standard input for "-".
func (a *app) openArchive(ctx context.Context, file string) (*archive, error) {
	src := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		src = f
	}
	if f, ok := src.(*os.File); ok {
		base, plain, err := plainFile(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if plain {
			return &archive{Reader: nar.NewReader(f), name: inputName(file), file: f, base: base}, nil
		}
	}
	stream := openStream(ctx, src)
	return &archive{Reader: nar.NewReader(stream), name: inputName(file), stream: stream}, nil
}

// An archiveStream is an archive as it is read from a stream, decoded if it is compressed.
type archiveStream struct {
	*aheadReader
	src     io.Reader
	decoder *compression.Reader
}

// openStream returns the archive that comes next in src. Reading it ends with ctx.
func openStream(ctx context.Context, src io.Reader) *archiveStream {
	decoder := compression.NewReader(src, plainArchive)
	return &archiveStream{readAhead(ctx, decoder), src, decoder}
}

// finish is called at the end of the archive. If it was compressed, the checksum of the
// stream comes after that, and has to be read.
func (s *archiveStream) finish() error {
	if s.decoder.IsPlain() {
		return nil
	}
	_, err := io.Copy(io.Discard, s.aheadReader)
	return err
}

// Close ends reading, and closes what was read from.
func (s *archiveStream) Close() error {
	err := s.aheadReader.Close()
	if c, ok := s.src.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// plainFile reports whether f is a file in which an archive begins that is not
// compressed, and where.
func plainFile(f *os.File) (base int64, plain bool, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false, err
	}
	if base, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, false, err
	}
	head := make([]byte, len(plainArchive))
	_, err = f.ReadAt(head, base)
	if err == io.EOF {
		err = nil
	}
	return base, string(head) == plainArchive, err
}

// finish is called at the end of the archive, and checks what there is to check after it.
func (ar *archive) finish() error {
	if ar.stream == nil {
		return nil
	}
	return ar.stream.finish()
}

// Close closes what the archive was read from.
func (ar *archive) Close() error {
	if ar.stream != nil {
		return ar.stream.Close()
	}
	return ar.file.Close()
}

// failed says which archive an error is about.
func (ar *archive) failed(err error) error { return fmt.Errorf("%s: %w", ar.name, err) }

// A seeker finds the node at a path among the entries of an archive.
type seeker struct {
	names []string // on the way from the root to the node
	found int      // how many of them lead to where we are
	seen  bool     // whether the node was found
}

// seek returns a seeker of the node at a path. As in Nix, the path begins at the root of
// the archive with or without a slash, and no symlink is followed.
func seek(p string) *seeker {
	p = path.Clean("/" + p)[1:]
	if p == "" {
		return &seeker{}
	}
	return &seeker{names: strings.Split(p, "/")}
}

// A place says how an entry lies relative to the node that is sought.
type place int

const (
	outside place = iota // somewhere else
	there                // it is the node
	below                // within the node
)

// place says where the next entry lies.
func (s *seeker) place(e nar.Entry) place {
	depth := len(s.names)
	if e.Depth > depth && s.found == depth {
		return below
	}
	s.found = min(s.found, max(e.Depth-1, 0))
	if e.Depth > 0 && e.Depth <= depth && e.Depth == s.found+1 && e.Name == s.names[e.Depth-1] {
		s.found = e.Depth
	}
	if e.Depth == depth && s.found == depth {
		s.seen = true
		return there
	}
	return outside
}
