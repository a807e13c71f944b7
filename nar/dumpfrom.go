package nar

import (
	"io"
	"math"
)

// write appends the at most n bytes of f, except the bytes before the offset of [DumpFrom].
func (d *dumper) write(n int, f func(dst []byte) []byte) error {
	if d.skip == 0 {
		return d.append(n, f)
	}
	bytes := f(make([]byte, 0, n))
	dropped := min(d.skip, uint64(len(bytes)))
	d.skip -= dropped
	rest := bytes[dropped:]
	return d.append(len(rest), func(dst []byte) []byte { return append(dst, rest...) })
}

// contentsFrom copies the contents of f from the offset on. It does not read a file that ends before the offset.
func (d *dumper) contentsFrom(f openedFile) error {
	dropped := min(d.skip, f.size)
	d.skip -= dropped
	if dropped == f.size {
		return nil
	}
	rest := f
	rest.size, rest.readerAt = f.size-dropped, nil
	if f.readerAt != nil {
		rest.ReadCloser = io.NopCloser(io.NewSectionReader(f.readerAt, int64(dropped), math.MaxInt64-int64(dropped)))
		rest.shortReadIsEOF = false
	} else if n, err := io.CopyN(io.Discard, f, int64(dropped)); err != nil {
		if uint64(n) < dropped && err == io.EOF {
			err = ErrFileChanged
		}
		return d.pathError(err)
	}
	return d.contents(rest)
}
