package nar

import "io"

// Index lists the archive of that size in bytes that src holds. Contents of files are
// not read, so it is fast where files are large. Its errors are those of a [Reader];
// bytes after the end of the archive are one of them.
func Index(src io.ReaderAt, size int64) (*Listing, error) {
	r := NewReader(io.NewSectionReader(src, 0, size))
	l, err := r.listing()
	if err != nil {
		return nil, err
	}
	if r.Offset() != size {
		return nil, &Error{Offset: r.Offset(), Reason: "there are bytes after the end of the archive"}
	}
	return l, nil
}
