package compression

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The decoder of xz allocates the window that the header of a block asks for, up to 4 GiB, before it has decoded a
// byte. So a guard has to find these headers in the stream.
//
// A stream has a header of 12 bytes, blocks, an index and a footer of 12 bytes. Several streams may follow each other,
// with zeros in between. A block has a header, chunks, zeros up to a multiple of 4, and a checksum. Source: "The .xz
// File Format", 1.2.

// An xzGuard reads an xz stream, and refuses blocks whose window is too large. It parses only as much as it needs, and
// leaves other errors to the decoder.
type xzGuard struct {
	frameReader
	size  uint64 // an upper bound for the size of the contents
	check int64  // bytes of the checksum at the end of a block
	block int64  // bytes of the current block so far, modulo 4
}

var errXz = errors.New("xz: the stream is not valid")

func newXzGuard(src io.Reader, size uint64) *xzGuard {
	g := &xzGuard{frameReader: frameReader{src: bufio.NewReaderSize(src, guardBuffer), short: unexpected}, size: size}
	g.step = g.header
	return g
}

// unexpected replaces io.EOF by io.ErrUnexpectedEOF: the decoder would accept a file that ends between two
// blocks.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header examines the header of a stream, zeros before it, or the end.
func (g *xzGuard) header() error {
	const headerSize, flagsAt = 12, 7
	if _, err := g.src.Peek(1); err != nil {
		return err
	}
	b, err := g.peek(4)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) == 0 {
		g.pass = 4
		return nil
	}
	if b, err = g.peek(headerSize); err != nil {
		return err
	}
	g.check = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[b[flagsAt]&0xf]
	g.pass, g.step = headerSize, g.blockHeader
	return nil
}

// blockHeader examines the header of a block, or the index, which begins with a zero.
func (g *xzGuard) blockHeader() error {
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	if b[0] == 0 {
		return g.index()
	}
	size := (int(b[0]) + 1) * 4
	if b, err = g.peek(size); err != nil {
		return err
	}
	bits, err := xzWindow(b)
	if err != nil {
		return err
	}
	g.shrink(b, bits)
	if window := xzWindowOf(b[bits]); window > MaxWindow {
		return fmt.Errorf("xz: decoding takes %d MiB, more than %d", window>>20, MaxWindow>>20)
	}
	g.pass, g.block, g.step = int64(size), 0, g.chunk
	return nil
}

// shrink reduces the window in the header of a block, which is still in the buffer, to the size of the contents: no
// back-reference is longer.
func (g *xzGuard) shrink(header []byte, at int) {
	for bits := byte(0); bits < header[at]; bits++ {
		if xzWindowOf(bits) >= g.size {
			check := header[len(header)-4:]
			sound := binary.LittleEndian.Uint32(check) == crc32.ChecksumIEEE(header[:len(header)-4])
			header[at] = bits
			if sound { // otherwise the decoder reports the wrong checksum
				binary.LittleEndian.PutUint32(check, crc32.ChecksumIEEE(header[:len(header)-4]))
			}
			return
		}
	}
}

// The filters of a block. The last one is LZMA2; BCJ filters for machine code and the delta filter, which
// need little memory, may stand before it.
const (
	xzDelta = 0x03
	xzX86   = 0x04
	xzSPARC = 0x09 // the last of the BCJ filters that the decoder knows
	xzLZMA2 = 0x21
)

// xzWindow returns the offset in the header of a block of the byte that encodes the size of the window.
func xzWindow(b []byte) (at int, err error) {
	const filters, hasCompressedSize, hasSize = 0x03, 0x40, 0x80
	flags, rest := b[1], b[2:]
	for _, has := range []byte{hasCompressedSize, hasSize} {
		if flags&has != 0 {
			if rest, _, err = xzNumber(rest); err != nil {
				return 0, err
			}
		}
	}
	for range flags&filters + 1 {
		var id, length uint64
		if rest, id, err = xzNumber(rest); err != nil {
			return 0, err
		}
		if rest, length, err = xzNumber(rest); err != nil || length > uint64(len(rest)) {
			return 0, errXz
		}
		at = len(b) - len(rest)
		switch {
		case id == xzLZMA2 && length == 1:
			if rest[0] > 40 {
				return 0, errXz
			}
			return at, nil
		case id == xzDelta, xzX86 <= id && id <= xzSPARC:
		default:
			return 0, fmt.Errorf("xz: the filter %#x is not supported", id)
		}
		rest = rest[length:]
	}
	return 0, errXz
}

// xzNumber parses a variable-length number.
func xzNumber(b []byte) (rest []byte, n uint64, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, 0, errXz
	}
	return b[size:], n, nil
}

// xzWindowOf decodes the size of a window: 2 or 3 times a power of two. The largest value, which means 4 GiB - 1,
// is decoded as more.
func xzWindowOf(bits byte) uint64 { return uint64(2|bits&1) << (bits/2 + 11) }

// chunk examines the header of an LZMA2 chunk: a control byte; 2 bytes with the rest of its length less one; for
// compressed chunks, 2 bytes with the compressed length less one, and optionally a byte of properties. A zero ends
// the block.
func (g *xzGuard) chunk() error {
	const stored, compressed, newProperties = 0x03, 0x80, 0xc0
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	control := b[0]
	switch {
	case control == 0:
		g.block++
		g.pass = 1 + (4-g.block%4)%4 + g.check
		g.step = g.blockHeader
		return nil
	case control < stored:
		if b, err = g.peek(3); err != nil {
			return err
		}
		g.pass = 3 + int64(binary.BigEndian.Uint16(b[1:])) + 1
	case control >= compressed:
		if b, err = g.peek(5); err != nil {
			return err
		}
		g.pass = 5 + int64(binary.BigEndian.Uint16(b[3:])) + 1
		if control >= newProperties {
			g.pass++
		}
	default:
		return errXz
	}
	g.block = (g.block + g.pass) % 4
	return nil
}

// index examines the index: a zero, the number of records, two numbers for each record, zeros up to a multiple of 4,
// and a checksum of 4 bytes. The footer follows.
func (g *xzGuard) index() error {
	const footerSize = 12
	length := int64(1)
	var numbers uint64
	started := false
	g.pass = 1
	g.step = func() error { // called after the zero and after each number
		if started && numbers == 0 {
			g.pass, g.step = (4-length%4)%4+4+footerSize, g.header
			return nil
		}
		n, size, err := g.number()
		if err != nil {
			return err
		}
		numbers--
		if !started {
			started, numbers = true, 2*min(n, 1<<62)
		}
		g.pass = size
		length += size
		return nil
	}
	return nil
}

// number returns the next number and its length in bytes.
func (g *xzGuard) number() (n uint64, size int64, err error) {
	for size = 1; size <= binary.MaxVarintLen64; size++ {
		b, err := g.peek(int(size))
		if err != nil {
			return 0, 0, err
		}
		if b[size-1] < 0x80 {
			n, got := binary.Uvarint(b)
			if got <= 0 {
				return 0, 0, errXz
			}
			return n, size, nil
		}
	}
	return 0, 0, errXz
}
