package xz

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	streamMagic = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	headerSize  = 12 // of a stream; its footer has as many bytes
	maxNumber   = 1<<63 - 1
)

var (
	errData    = errors.New("xz: the stream is not valid")
	errOptions = errors.New("xz: the stream has options that are not supported")
)

// unexpected replaces io.EOF by io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseStreamHeader returns the method of the checks of a stream.
func parseStreamHeader(b []byte) (checkID byte, err error) {
	const flagsAt, sumAt = 6, 8
	if string(b[:flagsAt]) != streamMagic {
		return 0, errors.New("xz: the stream does not begin as expected")
	}
	flags := b[flagsAt:sumAt]
	if crc32.ChecksumIEEE(flags) != binary.LittleEndian.Uint32(b[sumAt:]) {
		return 0, errData
	}
	return flags[1], checkFlags(flags)
}

// checkFlags checks the reserved bits of the flags of a stream.
func checkFlags(flags []byte) error {
	if flags[0] != 0 || flags[1] > 0xf {
		return errOptions
	}
	return nil
}

// checkFooter checks a footer, which repeats the flags of the header and has the size of the index.
func checkFooter(b []byte, checkID byte, indexSize uint64) error {
	const sizeAt, flagsAt, magicAt = 4, 8, 10
	switch {
	case string(b[magicAt:]) != footerMagic,
		crc32.ChecksumIEEE(b[sizeAt:magicAt]) != binary.LittleEndian.Uint32(b),
		b[flagsAt] != 0 || b[flagsAt+1] != checkID,
		(uint64(binary.LittleEndian.Uint32(b[sizeAt:]))+1)*4 != indexSize:
		return errData
	}
	return nil
}

// A blockHeader is the header of a block.
type blockHeader struct {
	length     int    // of the header
	compressed uint64 // bytes of the chunks; 0 if unknown
	size       uint64 // bytes of the contents
	hasSize    bool
	filters    []filter // without LZMA2
	window     uint64   // of LZMA2
}

// readBlockHeader reads a header, which begins with its length. The length must not be 0.
func readBlockHeader(src *bufio.Reader) (*blockHeader, error) {
	var buf [1024]byte
	if _, err := io.ReadFull(src, buf[:1]); err != nil {
		return nil, unexpected(err)
	}
	b := buf[:(int(buf[0])+1)*4]
	if _, err := io.ReadFull(src, b[1:]); err != nil {
		return nil, unexpected(err)
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return nil, errData
	}
	h := &blockHeader{length: len(b)}
	return h, h.parse(body[1:])
}

func (h *blockHeader) parse(b []byte) (err error) {
	const countMask, reserved, hasCompressed, hasSize = 0x03, 0x3c, 0x40, 0x80
	flags := b[0]
	b = b[1:]
	if flags&reserved != 0 {
		return errOptions
	}
	if flags&hasCompressed != 0 {
		if h.compressed, b, err = cutNumber(b); err != nil || h.compressed == 0 {
			return errData
		}
	}
	if h.hasSize = flags&hasSize != 0; h.hasSize {
		if h.size, b, err = cutNumber(b); err != nil {
			return err
		}
	}
	for i := range int(flags&countMask) + 1 {
		if b, err = h.parseFilter(b, i == int(flags&countMask)); err != nil {
			return err
		}
	}
	if len(bytes.Trim(b, "\x00")) > 0 {
		return errOptions
	}
	return nil
}

// parseFilter parses the filter at the beginning of b, and returns the rest.
func (h *blockHeader) parseFilter(b []byte, last bool) (rest []byte, err error) {
	id, b, err := cutNumber(b)
	if err != nil {
		return nil, err
	}
	length, b, err := cutNumber(b)
	if err != nil || length > uint64(len(b)) {
		return nil, errData
	}
	properties, rest := b[:length], b[length:]
	if last != (id == filterLZMA2) {
		return nil, fmt.Errorf("xz: the filter %#x is not supported at this position", id)
	}
	if !last {
		f, err := parseFilter(id, properties)
		h.filters = append(h.filters, f)
		return rest, err
	}
	const largest = 40
	if length != 1 || properties[0] > largest {
		return nil, errOptions
	}
	h.window = windowOf(properties[0])
	return rest, nil
}

// windowOf decodes the size of a window: 2 or 3 times a power of two. The largest value means 4 GiB - 1, and is decoded
// as 4 GiB.
func windowOf(bits byte) uint64 { return uint64(2|bits&1) << (bits/2 + 11) }

// cutNumber parses a number at the beginning of b.
func cutNumber(b []byte) (n uint64, rest []byte, err error) {
	src := bytes.NewReader(b)
	n, err = readNumber(src)
	if err != nil {
		err = errData
	}
	return n, b[len(b)-src.Len():], err
}

// readNumber reads a number: 7 bits in each byte, the lowest first. Each number has only one encoding.
func readNumber(src io.ByteReader) (uint64, error) {
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		b, err := src.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				return 0, errData
			}
			return n, nil
		}
	}
	return 0, errData
}
