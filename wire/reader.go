package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An Error reports where and why a stream could not be decoded.
type Error struct {
	Offset int64 // offset of the number, string or byte in the stream
	Reason string
	Err    error // the error of the underlying reader, if there was one; io.ErrUnexpectedEOF for a truncated stream
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("offset %d: %s: %v", e.Offset, e.Reason, e.Err)
	}
	return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// minReaderSize is the minimum buffer size of a Reader. The tags and names of archives
// fit into it.
const minReaderSize = 512

// growStep is the minimum number of bytes by which the memory of a long string grows
// ahead of the bytes that arrived.
const growStep = 64 << 10

// A Reader decodes primitives from a stream. It reads ahead, up to the size of its
// buffer, so nothing else may read from the underlying stream.
//
// Every method returns an [*Error] for a malformed stream, with one exception: if the
// stream ends exactly before a number or string, the error is io.EOF. Only the caller
// knows whether the stream may end there.
type Reader struct {
	src    io.Reader
	buf    []byte
	r, w   int   // buf[r:w] was read from src and is not decoded yet
	offset int64 // offset of buf[r] in the stream
}

// NewReader returns a Reader of src with a buffer of at least size bytes.
func NewReader(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, max(size, minReaderSize))}
}

// Reset makes r read src from offset 0. It reuses the buffer.
func (r *Reader) Reset(src io.Reader) {
	r.src, r.r, r.w, r.offset = src, 0, 0, 0
}

// Offset returns the number of bytes decoded so far.
func (r *Reader) Offset() int64 { return r.offset }

// Buffered returns the number of bytes that were read ahead and not decoded yet.
func (r *Reader) Buffered() int { return r.w - r.r }

// Ahead returns the bytes that were read ahead and not decoded yet. The slice is valid until
// the next call of a method of r.
func (r *Reader) Ahead() []byte { return r.buf[r.r:r.w] }

// fill reads until the buffer holds at least n bytes. n must not exceed its size.
func (r *Reader) fill(n int) error {
	if r.w-r.r >= n {
		return nil
	}
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	got, err := io.ReadAtLeast(r.src, r.buf[r.w:], n-r.w)
	r.w += got
	if err == nil {
		return nil
	}
	if r.w == 0 && err == io.EOF {
		return io.EOF
	}
	return r.streamError(err)
}

// streamError returns the error for a stream that ended or failed within a value.
func (r *Reader) streamError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &Error{r.offset + int64(r.Buffered()), "the stream ends too early", io.ErrUnexpectedEOF}
	}
	return &Error{r.offset + int64(r.Buffered()), "reading failed", err}
}

// noEOF converts io.EOF to an error, because the stream ended within a value.
func (r *Reader) noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.streamError(err)
	}
	return err
}

func (r *Reader) advance(n int) {
	r.r += n
	r.offset += int64(n)
}

// Uint64 reads a number.
func (r *Reader) Uint64() (uint64, error) {
	if err := r.fill(WordSize); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(r.buf[r.r:])
	r.advance(WordSize)
	return n, nil
}

// Limited reads a number that must not exceed limit. The error describes it as what.
func (r *Reader) Limited(what string, limit uint64) (uint64, error) {
	at := r.offset
	n, err := r.Uint64()
	if err == nil && n > limit {
		return 0, &Error{Offset: at, Reason: fmt.Sprintf("%s is %d, more than the limit of %d", what, n, limit)}
	}
	return n, err
}

// Bool reads a number and reports whether it is not zero, as Nix does.
func (r *Reader) Bool() (bool, error) {
	n, err := r.Uint64()
	return n != 0, err
}

// Bytes reads a string of at most limit bytes. The slice is valid until the next call
// of a method of r.
func (r *Reader) Bytes(limit int) ([]byte, error) {
	n, err := r.Limited("the length of a string", uint64(limit))
	if err != nil {
		return nil, err
	}
	padded := int(n) + PaddingLen(n)
	if padded > len(r.buf) {
		return r.longBytes(int(n))
	}
	if err := r.noEOF(r.fill(padded)); err != nil {
		return nil, err
	}
	s := r.buf[r.r : r.r+int(n) : r.r+int(n)]
	if err := checkPadding(r.buf[r.r+int(n):r.r+padded], r.offset+int64(n)); err != nil {
		return nil, err
	}
	r.advance(padded)
	return s, nil
}

// longBytes reads the n bytes and the padding of a string that does not fit into the
// buffer. A sender may announce any n, so memory grows with the bytes that arrived. The
// memory is not kept for the next long string, because a server has many readers and most
// are idle.
func (r *Reader) longBytes(n int) ([]byte, error) {
	var s []byte
	for len(s) < n {
		step := min(n-len(s), max(growStep, len(s)))
		if cap(s)-len(s) < step {
			s = append(make([]byte, 0, len(s)+step), s...)
		}
		got, err := io.ReadFull(r, s[len(s):len(s)+step])
		s = s[:len(s)+got]
		if err != nil {
			return nil, r.noEOF(err)
		}
	}
	return s, r.SkipPadding(uint64(n))
}

// String reads a string of at most limit bytes.
func (r *Reader) String(limit int) (string, error) {
	b, err := r.Bytes(limit)
	return string(b), err
}

// SkipPadding reads the padding of a string of n bytes, which must be zero.
func (r *Reader) SkipPadding(n uint64) error {
	pad := PaddingLen(n)
	if err := r.noEOF(r.fill(pad)); err != nil {
		return err
	}
	if err := checkPadding(r.buf[r.r:r.r+pad], r.offset); err != nil {
		return err
	}
	r.advance(pad)
	return nil
}

func checkPadding(pad []byte, offset int64) error {
	for i, b := range pad {
		if b != 0 {
			return &Error{Offset: offset + int64(i), Reason: fmt.Sprintf("a padding byte is %#x instead of 0", b)}
		}
	}
	return nil
}

// Read reads raw bytes, without length or padding. It implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= len(r.buf) { // read directly, without copying through the buffer
			n, err := r.src.Read(p)
			r.offset += int64(n)
			return n, r.readError(err)
		}
		n, err := r.src.Read(r.buf)
		r.r, r.w = 0, n
		if n == 0 {
			return 0, r.readError(err)
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.advance(n)
	return n, nil
}

func (r *Reader) readError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return r.streamError(err)
}

// A Skipper is a source that can skip bytes without reading them.
type Skipper interface {
	// Skip skips n bytes. It returns io.ErrUnexpectedEOF if fewer are left.
	Skip(n uint64) error
}

// Discard skips n bytes. If the source is a [Skipper], it reads none of them except
// those already in the buffer.
func (r *Reader) Discard(n uint64) error {
	for n > 0 {
		if r.r == r.w {
			if s, ok := r.src.(Skipper); ok {
				if err := s.Skip(n); err != nil {
					return r.streamError(err)
				}
				r.offset += int64(n)
				return nil
			}
			if err := r.fill(1); err != nil {
				return r.noEOF(err)
			}
		}
		step := int(min(n, uint64(r.w-r.r)))
		r.advance(step)
		n -= uint64(step)
	}
	return nil
}

// Peek waits until at least one byte is in the buffer, without decoding it. It returns
// io.EOF if the stream ends. After a failed read, for example at a deadline, the reader
// can still be used.
func (r *Reader) Peek() error { return r.fill(1) }
