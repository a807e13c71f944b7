package wire

import (
	"io"
	"math"
)

// A FrameReader reads a stream that was cut into frames. It returns io.EOF after the
// frame of length zero, and leaves what follows unread.
type FrameReader struct {
	src  *Reader
	left uint64 // bytes of the frame that are still to be read
	err  error
}

// NewFrameReader returns a FrameReader of the frames that come next in src.
func NewFrameReader(src *Reader) *FrameReader { return &FrameReader{src: src} }

// Read implements io.Reader. Its errors are those of a [Reader]; they last.
func (f *FrameReader) Read(p []byte) (int, error) {
	for f.err == nil && f.left == 0 {
		f.left, f.err = f.src.Limited("the length of a frame", math.MaxUint32)
		if f.err == nil && f.left == 0 {
			f.err = io.EOF
		} else {
			f.err = f.src.inside(f.err)
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.src.Read(p[:min(uint64(len(p)), f.left)])
	f.left -= uint64(n)
	if err != nil {
		f.err = f.src.inside(err)
	}
	return n, f.err
}

// Drain reads up to and including the frame of length zero.
func (f *FrameReader) Drain() error {
	_, err := io.Copy(io.Discard, f)
	return err
}

// A FrameWriter cuts a stream into frames: one for each Write.
type FrameWriter struct {
	dst io.Writer
	buf []byte
}

// NewFrameWriter returns a FrameWriter that writes frames to dst.
func NewFrameWriter(dst io.Writer) *FrameWriter { return &FrameWriter{dst: dst} }

// Write writes p as one frame. An empty p writes nothing, since an empty frame would
// end the stream.
func (f *FrameWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// One write, not two: the header and the chunk leave in one packet.
	f.buf = append(AppendUint64(f.buf[:0], uint64(len(p))), p...)
	if _, err := f.dst.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes the frame of length zero, which ends the stream. It does not close
// what is written to.
func (f *FrameWriter) Close() error {
	_, err := f.dst.Write(AppendUint64(nil, 0))
	return err
}
