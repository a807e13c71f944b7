package compression

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The decoder of zstd allocates the window that a frame says that it needs before it has
// decoded a byte. Who knows how much comes out in all knows that no reference goes back
// further than that, and may tell the decoder of a smaller window.
//
// A stream is frames one after the other. A frame is a magic number, a byte of flags, maybe
// the window, maybe the number of a dictionary, maybe the size of the contents, blocks, and
// maybe a check. Frames of another kind are to be skipped. Source: RFC 8878.

// A zstdGuard passes a zstd stream on, with windows no larger than size needs.
type zstdGuard struct {
	frameReader
	size  uint64
	check int64 // bytes of the check at the end of the frame
}

var (
	errZstd      = errors.New("zstd: the stream is not valid")
	errZstdShort = fmt.Errorf("zstd: the stream ends too early: %w", io.ErrUnexpectedEOF)
)

func newZstdGuard(src io.Reader, size uint64) *zstdGuard {
	g := &zstdGuard{frameReader: frameReader{src: bufio.NewReaderSize(src, 64<<10), short: tooShort}, size: size}
	g.step = g.header
	return g
}

// tooShort makes the end of the file an error, and not one that the decoder takes for the
// end of the stream.
func tooShort(err error) error {
	if err == io.EOF {
		return errZstdShort
	}
	return err
}

// header stands before a frame, or at the end.
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
	window := 5 // where it is
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
		b[window] = smallerWindow(b[window], g.size) // in the buffer, which is read next
	}
	g.check = 0
	if flags&hasCheck != 0 {
		g.check = 4
	}
	g.pass, g.step = int64(after+sizeBytes), g.block
	return nil
}

// checkContents refuses a frame whose window is the whole of its contents, if there are
// more of them than should come out.
func (g *zstdGuard) checkContents(field []byte) error {
	var b [8]byte
	copy(b[:], field)
	size := binary.LittleEndian.Uint64(b[:])
	if len(field) == 2 {
		size += 256
	}
	if size > max(g.size, 1<<10) || size > MaxWindow {
		return fmt.Errorf("zstd: decoding takes %d bytes at once, more than should come out, or than %d", size, MaxWindow)
	}
	return nil
}

// smallerWindow returns the descriptor of the smallest window that is enough for size
// bytes and for a block, or the one that is given if that is smaller.
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

// block stands before a block: three bytes that say whether it is the last, of which kind,
// and how long.
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
