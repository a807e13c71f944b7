package nar

import (
	"bytes"
	"io"
)

// A RawReader reads an archive out of a stream as the bytes that it is made of, and checks
// them: so an archive in the midst of other things is cut out. Read returns io.EOF behind its
// last parenthesis, and an [*Error] for what is no archive.
type RawReader struct {
	in    *Reader
	out   *Writer      // spells the archive again: a valid one has one spelling only
	buf   bytes.Buffer // spelt and not yet read
	large bool         // within the contents of a file that are not worth copying
	piece [4 << 10]byte
	err   error
}

// largeContents is the size in bytes from which the contents of a file are read by the caller of
// Read directly.
const largeContents = 16 << 10

// NewRawReader returns a RawReader of the archive that comes next in src. What it consumes of
// src is what [NewReader] says.
func NewRawReader(src io.Reader) *RawReader {
	r := &RawReader{in: NewReader(src)}
	r.out = NewWriter(&r.buf)
	return r
}

// Read implements io.Reader.
func (r *RawReader) Read(p []byte) (int, error) {
	for r.buf.Len() == 0 && r.err == nil {
		if !r.large {
			r.err = r.next()
			continue
		}
		n, err := r.in.Read(p)
		r.large = err == nil
		if err != io.EOF {
			r.err = err
		}
		if n > 0 {
			r.out.passed(n)
			return n, nil
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	if r.buf.Len() > 0 {
		return r.buf.Read(p)
	}
	return 0, r.err
}

// next spells the next entry, with its contents if they are not large.
func (r *RawReader) next() error {
	e, err := r.in.Next()
	if err == io.EOF {
		if err := r.out.Close(); err != nil {
			return err
		}
		return io.EOF
	}
	if err == nil {
		err = r.out.WriteEntry(e)
	}
	if err != nil || e.Kind != Regular {
		return err
	}
	if r.large = e.Size >= largeContents; r.large {
		return r.out.flush(0)
	}
	_, err = io.CopyBuffer(r.out, r.in, r.piece[:])
	return err
}
