package compression

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// The decoder of lz4 allocates two buffers of the largest block that the header of a frame allows, up to 4 MiB each.
// No block is larger than the decompressed contents, so the decoder can get a header with smaller blocks.
//
// A stream is a sequence of frames. A frame has a magic number, two bytes of flags, optionally the size of the
// contents, optionally the number of a dictionary, a checksum of these fields, blocks, 4 zero bytes, and optionally a
// checksum. A block has its length, its bytes, and optionally a checksum. Skippable frames are passed through. Source:
// lz4_Frame_format.md, 1.6.

// An lz4Guard reads a stream of lz4, and reduces its blocks to the size that the contents need.
type lz4Guard struct {
	frameReader
	size uint64

	blockCheck, check int64 // bytes of the checksums after each block and after all blocks
}

var errLz4 = errors.New("lz4: the stream is not valid")

func newLz4Guard(src *bufio.Reader, size uint64) *lz4Guard {
	g := &lz4Guard{frameReader: frameReader{src: src, short: unexpected}, size: size}
	g.step = g.header
	return g
}

// header examines the header of a frame, or the end of the stream.
func (g *lz4Guard) header() error {
	const magic, legacy, skippable, skippableMask = 0x184d2204, 0x184c2102, 0x184d2a50, 0xfffffff0
	if _, err := g.src.Peek(1); err != nil {
		return err
	}
	b, err := g.peek(8)
	if err != nil {
		return err
	}
	switch m := binary.LittleEndian.Uint32(b); {
	case m == magic:
		return g.frameHeader()
	case m&skippableMask == skippable:
		g.pass = 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		return nil
	case m == legacy:
		return fmt.Errorf("lz4: legacy frames, whose blocks of 8 MiB take more memory than %d bytes, are not supported", g.size)
	}
	return errLz4
}

// frameHeader reduces the size of the blocks in the header of a frame, which is still in the buffer.
func (g *lz4Guard) frameHeader() error {
	const blockCheck, hasSize, check, dictionary = 0x10, 0x08, 0x04, 0x01
	const flagsAt, blocksAt = 4, 5
	b, err := g.peek(blocksAt + 1)
	if err != nil {
		return err
	}
	flags, length := b[flagsAt], blocksAt+1
	if flags&hasSize != 0 {
		length += 8
	}
	if flags&dictionary != 0 {
		length += 4
	}
	if b, err = g.peek(length + 1); err != nil {
		return err
	}
	described := b[flagsAt:length]
	sound := b[length] == lz4HeaderCheck(described)
	b[blocksAt] = smallerLz4Blocks(b[blocksAt], g.size)
	if sound { // otherwise the decoder reports the wrong checksum
		b[length] = lz4HeaderCheck(described)
	}
	g.blockCheck, g.check = 0, 0
	if flags&blockCheck != 0 {
		g.blockCheck = 4
	}
	if flags&check != 0 {
		g.check = 4
	}
	g.pass, g.step = int64(length+1), g.block
	return nil
}

// smallerLz4Blocks returns the descriptor of the smallest blocks that are enough for size bytes, or the
// one that is given if its blocks are smaller. Blocks have 2^(8+2n) bytes, where n is from 4 to 7.
func smallerLz4Blocks(descriptor byte, size uint64) byte {
	const shift, mask, smallest = 4, 0x7, 4
	for n := byte(smallest); n < descriptor>>shift&mask; n++ {
		if uint64(1)<<(8+2*n) >= size {
			return descriptor&^(mask<<shift) | n<<shift
		}
	}
	return descriptor
}

// block examines the length of a block, or the end of the frame.
func (g *lz4Guard) block() error {
	const stored = 1 << 31
	b, err := g.peek(4)
	if err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 0 {
		g.pass, g.step = 4+g.check, g.header
		return nil
	}
	g.pass = 4 + int64(length&^stored) + g.blockCheck
	return nil
}

// lz4HeaderCheck returns the checksum of the header of a frame: the second byte of its XXH32. The header must have
// less than 16 bytes.
func lz4HeaderCheck(b []byte) byte {
	const prime1, prime2, prime3, prime4, prime5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h := prime5 + uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*prime3, 17) * prime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return byte((h ^ h>>16) >> 8)
}
