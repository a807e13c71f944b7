package nar

import (
	"io"

	"pix/wire"
)

// indexBuffer is how many bytes are read at a time for an index: enough for the tags
// of a hundred entries, and little to read in vain where large files lie.
const indexBuffer = 16 << 10

// Index lists the archive of that size in bytes that src holds. Contents of files are
// not read, so it is fast where files are large. Its errors are those of a [Reader];
// bytes after the end of the archive are one of them.
func Index(src io.ReaderAt, size int64) (*Listing, error) {
	r := NewReader(wire.NewReader(&indexSource{src: src, size: size}, indexBuffer))
	var b listingBuilder
	for e, err := range r.All() {
		if err != nil {
			return nil, err
		}
		b.add(e)
	}
	if r.Offset() != size {
		return nil, &Error{Offset: r.Offset(), Reason: "there are bytes after the end of the archive"}
	}
	return &b.root, nil
}

// An indexSource reads src from its beginning, and can pass over parts of it. It is a
// wire.Skipper.
type indexSource struct {
	src    io.ReaderAt
	offset int64
	size   int64
}

func (s *indexSource) Read(p []byte) (int, error) {
	if s.offset >= s.size {
		return 0, io.EOF
	}
	n, err := s.src.ReadAt(p[:min(int64(len(p)), s.size-s.offset)], s.offset)
	s.offset += int64(n)
	if n > 0 {
		err = nil // if there was one, it comes again
	}
	return n, err
}

// Skip passes over n bytes, which must be there.
func (s *indexSource) Skip(n uint64) error {
	if n > uint64(s.size-s.offset) {
		s.offset = s.size
		return io.ErrUnexpectedEOF
	}
	s.offset += int64(n)
	return nil
}
