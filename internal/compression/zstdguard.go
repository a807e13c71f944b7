package compression

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The decoder of zstd allocates the window that a frame asks for before it has decoded a byte. No back-reference is
// longer than the contents, so the decoder can get a header with a smaller window if the size of the contents is known.
//
// A stream is a sequence of frames. A frame has a magic number, a byte of flags, optionally the window, optionally the
// number of a dictionary, optionally the size of the contents, blocks, and optionally a checksum. Skippable frames are
// passed through. Source: RFC 8878.

// A zstdGuard reads a zstd stream, and reduces its windows to the size that the contents need.
type zstdGuard struct {
	frameReader
	size  uint64
	check int64 // bytes of the checksum at the end of the frame
}

var (
	errZstd      = errors.New("zstd: the stream is not valid")
	errZstdShort = fmt.Errorf("zstd: the stream ends too early: %w", io.ErrUnexpectedEOF)
)

func newZstdGuard(src io.Reader, size uint64) *zstdGuard {
	g := &zstdGuard{frameReader: frameReader{src: bufio.NewReaderSize(src, 64<<10), short: zstdUnexpected}, size: size}
	g.step = g.header
	return g
}

// zstdUnexpected replaces io.EOF by an error that the decoder does not take for the end of the
// stream.
func zstdUnexpected(err error) error {
	if err == io.EOF {
		return errZstdShort
	}
	return err
}

// header examines the header of a frame, or the end of the stream.
func (g *zstdGuard) header() error {
	const magic, skippable, skippableMask = 0xfd2fb528, 0x184d2a50, 0xfffffff0
	if _, err := g.src.Peek(1); err != nil {
		return err
	}
	b, err := g.peek(4)
	if err != nil {
		return err
	}
	switch m := binary.LittleEndian.Uint32(b); {
	case m == magic:
		return g.frameHeader()
	case m&skippableMask == skippable:
		if b, err = g.peek(8); err != nil {
			return err
		}
		g.pass = 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		return nil
	}
	return errZstd
}

func (g *zstdGuard) frameHeader() error {
	const singleSegment, hasCheck = 0x20, 0x04
	b, err := g.peek(5)
	if err != nil {
		return err
	}
	flags := b[4]
	window := 5 // its offset
	after := window + 1
	if flags&singleSegment != 0 {
		after = window
	}
	after += [4]int{0, 1, 2, 4}[flags&3]
	sizeBytes := [4]int{0, 2, 4, 8}[flags>>6]
	if flags>>6 == 0 && flags&singleSegment != 0 {
		sizeBytes = 1
	}
	if b, err = g.peek(after + sizeBytes); err != nil {
		return err
	}
	if flags&singleSegment != 0 {
		if err := g.checkContents(b[after:]); err != nil {
			return err
		}
	} else {
		b[window] = smallerWindow(b[window], g.size) // changes the buffer, which is read next
	}
	g.check = 0
	if flags&hasCheck != 0 {
		g.check = 4
	}
	g.pass, g.step = int64(after+sizeBytes), g.block
	return nil
}

// checkContents checks the size of the contents of a frame whose window is the whole contents. It must not be larger
// than the expected size.
func (g *zstdGuard) checkContents(field []byte) error {
	var b [8]byte
	copy(b[:], field)
	size := binary.LittleEndian.Uint64(b[:])
	if len(field) == 2 {
		size += 256
	}
	if size > max(g.size, 1<<10) || size > MaxWindow {
		return fmt.Errorf("zstd: decoding needs a window of %d bytes, more than the contents should have or than %d", size, MaxWindow)
	}
	return nil
}

// smallerWindow returns the descriptor of the smallest window that is large enough for size bytes and for a block,
// or the given one if it is smaller.
func smallerWindow(descriptor byte, size uint64) byte {
	const block = 128 << 10
	for d := byte(0); d < descriptor; d++ {
		if windowOf(d) >= max(size, block) {
			return d
		}
	}
	return descriptor
}

func windowOf(descriptor byte) uint64 {
	base := uint64(1) << (10 + descriptor>>3)
	return base + base/8*uint64(descriptor&7)
}

// block examines the header of a block: three bytes with a flag for the last block, its kind and its
// length.
func (g *zstdGuard) block() error {
	const last, repeated = 1, 1
	b, err := g.peek(3)
	if err != nil {
		return err
	}
	head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	g.pass = 3 + int64(head>>3)
	if head>>1&3 == repeated {
		g.pass = 3 + 1
	}
	if head&last != 0 {
		g.pass += g.check
		g.step = g.header
	}
	return nil
}
