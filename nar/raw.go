package nar

import (
	"bytes"
	"io"
	"sync"
)

// A RawReader reads the bytes of one archive from a stream and checks them. Read returns
// io.EOF after the last byte of the archive, and an [*Error] if the archive is not valid.
type RawReader struct {
	in     *Reader
	out    *Writer      // encodes the entries again; a valid archive has exactly one encoding
	buf    bytes.Buffer // encoded and not read yet
	direct bool         // the caller reads the contents of a large file from in
	piece  [4 << 10]byte
	err    error
}

// directSize is the file size in bytes from which contents are not copied through buf.
const directSize = 16 << 10

// NewRawReader returns a RawReader of the next archive in src. It reads from src in the same
// way as [NewReader].
func NewRawReader(src io.Reader) *RawReader {
	r := &RawReader{in: NewReader(src)}
	r.out = NewWriter(&r.buf)
	return r
}

// Read implements io.Reader.
func (r *RawReader) Read(p []byte) (int, error) {
	for r.buf.Len() == 0 && r.err == nil {
		if !r.direct {
			r.err = r.next()
			continue
		}
		n, err := r.in.Read(p)
		r.direct = err == nil
		if err != io.EOF {
			r.err = err
		}
		if n > 0 {
			r.out.advance(n)
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

// next encodes the next entry, with its contents unless they are large.
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
	if r.direct = e.Size >= directSize; r.direct {
		return r.out.flush(0)
	}
	_, err = io.CopyBuffer(r.out, r.in, r.piece[:])
	return err
}

// copyBuffer is the number of bytes of contents that are copied at a time.
const copyBuffer = 128 << 10

var copyPieces = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Copy copies the next archive in src to dst unchanged, checks it, and returns its size in
// bytes. After an error, dst has received a prefix of the archive, and the size is the
// number of bytes that were read.
//
// If src is a [*wire.Reader], it is positioned directly after the archive when Copy returns.
// The errors are the errors of [Reader] and of dst.
func Copy(dst io.Writer, src io.Reader) (size int64, err error) {
	// A valid archive has exactly one encoding, so encoding its entries again results in
	// the same bytes.
	r, release := borrowReader(src)
	defer release()
	w := NewWriter(dst)
	buf := copyPieces.Get().(*[copyBuffer]byte)
	defer copyPieces.Put(buf)
	for e, err := range r.All() {
		if err == nil {
			err = w.WriteEntry(e)
		}
		if err == nil {
			err = copyContents(w, r, buf[:])
		}
		if err != nil {
			return r.Offset(), err
		}
	}
	return r.Offset(), w.Close()
}

// copyContents copies the contents of the current entry.
func copyContents(dst io.Writer, src *Reader, buf []byte) error {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
