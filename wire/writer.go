package wire

import (
	"encoding/binary"
	"io"
	"math"
)

// A FrameReader reads a framed stream. It returns io.EOF after the frame of length
// zero, and leaves the bytes after that frame unread.
type FrameReader struct {
	src  *Reader
	left uint64 // unread bytes of the current frame
	err  error
}

// NewFrameReader returns a FrameReader that reads frames from src.
func NewFrameReader(src *Reader) *FrameReader { return &FrameReader{src: src} }

// Read implements io.Reader. It returns the errors of a [Reader]; an error is permanent.
func (f *FrameReader) Read(p []byte) (int, error) {
	for f.err == nil && f.left == 0 {
		f.left, f.err = f.src.Limited("the length of a frame", math.MaxUint32)
		if f.err == nil && f.left == 0 {
			f.err = io.EOF
		} else {
			f.err = f.src.noEOF(f.err)
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.src.Read(p[:min(uint64(len(p)), f.left)])
	f.left -= uint64(n)
	if err != nil {
		f.err = f.src.noEOF(err)
	}
	return n, f.err
}

// Drain reads and discards everything up to and including the frame of length zero.
func (f *FrameReader) Drain() error {
	_, err := io.Copy(io.Discard, f)
	return err
}

// A FrameWriter splits a stream into frames, one for each Write.
type FrameWriter struct {
	dst io.Writer
	buf []byte
}

// NewFrameWriter returns a FrameWriter that writes frames to dst.
func NewFrameWriter(dst io.Writer) *FrameWriter { return &FrameWriter{dst: dst} }

// Write writes p as one frame. If p is empty, it writes nothing, because an empty frame
// would end the stream.
func (f *FrameWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// A single write sends the header and the chunk in one packet.
	f.buf = append(AppendUint64(f.buf[:0], uint64(len(p))), p...)
	if _, err := f.dst.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes the frame of length zero, which ends the stream. It does not close the
// underlying writer.
func (f *FrameWriter) Close() error {
	_, err := f.dst.Write(AppendUint64(nil, 0))
	return err
}

// WordSize is the size of a word in bytes. Every encoding is a multiple of it.
const WordSize = 8

// AppendUint64 appends a number.
func AppendUint64(dst []byte, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, n)
}

// AppendBool appends 1 for true and 0 for false.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return AppendUint64(dst, 1)
	}
	return AppendUint64(dst, 0)
}

// AppendString appends a string: its length, its bytes and the padding.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = AppendUint64(dst, uint64(len(s)))
	dst = append(dst, s...)
	return AppendPadding(dst, uint64(len(s)))
}

// AppendStrings appends a list of strings.
func AppendStrings[S ~string](dst []byte, list []S) []byte {
	dst = AppendUint64(dst, uint64(len(list)))
	for _, s := range list {
		dst = AppendString(dst, s)
	}
	return dst
}

// AppendPadding appends the padding of a string of n bytes.
func AppendPadding(dst []byte, n uint64) []byte {
	var zero [WordSize]byte
	return append(dst, zero[:PaddingLen(n)]...)
}

// PaddingLen returns the number of zero bytes, 0 to 7, that pad a string of n bytes.
func PaddingLen(n uint64) int { return int(-n % WordSize) }
