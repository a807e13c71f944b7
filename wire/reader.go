package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An Error says what was wrong with a stream, and where.
type Error struct {
	Offset int64 // of the number or string at fault, in bytes from the start of the stream
	Reason string
	Err    error // what the underlying reader said, if it was at fault; io.ErrUnexpectedEOF at a premature end
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("offset %d: %s: %v", e.Offset, e.Reason, e.Err)
	}
	return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// minReaderSize is the smallest buffer of a Reader: what Nix's archives have for
// tags and names fits.
const minReaderSize = 512

// growStep is how far a string that does not fit the buffer grows before its bytes
// have come.
const growStep = 64 << 10

// A Reader decodes primitives from a stream. It reads ahead, up to the size of its
// buffer, so the stream beneath is the Reader's alone.
//
// Every method returns an [*Error] for a stream that is not as it should be. The one
// exception is a stream that ends exactly before a number or string: that is io.EOF,
// which the caller knows to be an end or a truncation.
type Reader struct {
	src    io.Reader
	buf    []byte
	r, w   int   // buf[r:w] is read from src and not yet decoded
	offset int64 // of buf[r]
}

// NewReader returns a Reader of src with a buffer of at least that many bytes.
func NewReader(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, max(size, minReaderSize))}
}

// Reset makes r read another stream, from offset 0, with the buffer it has.
func (r *Reader) Reset(src io.Reader) {
	r.src, r.r, r.w, r.offset = src, 0, 0, 0
}

// Offset returns the number of bytes decoded so far.
func (r *Reader) Offset() int64 { return r.offset }

// Buffered returns the number of bytes that were read ahead.
func (r *Reader) Buffered() int { return r.w - r.r }

// fill reads until n bytes are in the buffer, which must be large enough.
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
	return r.broken(err)
}

// broken reports that the stream ended or failed within a value.
func (r *Reader) broken(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &Error{r.offset + int64(r.Buffered()), "the stream ends too early", io.ErrUnexpectedEOF}
	}
	return &Error{r.offset + int64(r.Buffered()), "reading failed", err}
}

// inside turns the end of the stream into an error: a value has begun.
func (r *Reader) inside(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.broken(err)
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

// Limited reads a number that must not exceed limit; what names it in the error.
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

// Bytes reads a string of at most limit bytes. The slice is valid until the next
// call of a method of r.
func (r *Reader) Bytes(limit int) ([]byte, error) {
	n, err := r.Limited("the length of a string", uint64(limit))
	if err != nil {
		return nil, err
	}
	padded := int(n) + PaddingLen(n)
	if padded > len(r.buf) {
		return r.longBytes(int(n))
	}
	if err := r.inside(r.fill(padded)); err != nil {
		return nil, err
	}
	s := r.buf[r.r : r.r+int(n) : r.r+int(n)]
	if err := checkPadding(r.buf[r.r+int(n):r.r+padded], r.offset+int64(n)); err != nil {
		return nil, err
	}
	r.advance(padded)
	return s, nil
}

// longBytes reads the n bytes and the padding of a string that the buffer cannot
// hold. Its memory grows with what has come, not with n. It is not kept for the next long
// string: a server has many readers, and most of them wait.
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
			return nil, r.inside(err)
		}
	}
	return s, r.SkipPadding(uint64(n))
}

// String reads a string of at most limit bytes.
func (r *Reader) String(limit int) (string, error) {
	b, err := r.Bytes(limit)
	return string(b), err
}

// SkipPadding reads the padding that follows n bytes of a string, which must be zero.
func (r *Reader) SkipPadding(n uint64) error {
	pad := PaddingLen(n)
	if err := r.inside(r.fill(pad)); err != nil {
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

// Read reads bytes as they come, without length or padding. It implements io.Reader;
// at the end of the stream it returns io.EOF.
func (r *Reader) Read(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= len(r.buf) { // copying through the buffer would gain nothing
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
	return r.broken(err)
}

// A Skipper is a source that can pass over bytes without reading them.
type Skipper interface {
	// Skip passes over n bytes. If they are not all there, it is io.ErrUnexpectedEOF.
	Skip(n uint64) error
}

// Discard reads and forgets n bytes. If the source is a [Skipper], it skips those that
// were not read ahead.
func (r *Reader) Discard(n uint64) error {
	for n > 0 {
		if r.r == r.w {
			if s, ok := r.src.(Skipper); ok {
				if err := s.Skip(n); err != nil {
					return r.broken(err)
				}
				r.offset += int64(n)
				return nil
			}
			if err := r.fill(1); err != nil {
				return r.inside(err)
			}
		}
		step := int(min(n, uint64(r.w-r.r)))
		r.advance(step)
		n -= uint64(step)
	}
	return nil
}

// Peek waits until a byte has come, which is still to be read. It returns io.EOF if the
// stream ends here instead. When reading fails, such as at a deadline, reading may go on
// afterwards.
func (r *Reader) Peek() error { return r.fill(1) }
