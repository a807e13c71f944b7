package xz

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// A block is one that is being decoded.
type block struct {
	chunks
	header    int    // bytes
	body, out uint64 // bytes of chunks and what comes out, if hasBody and hasOut
	hasBody   bool
	hasOut    bool
	came      uint64 // out of it
	check     hash.Hash
}

var crc64Table = crc64.MakeTable(crc64.ECMA)

// newCheck returns how a check is computed that has that number, or nil for none.
func newCheck(number byte) (hash.Hash, error) {
	switch number {
	case 0:
		return nil, nil
	case 1:
		return crc32.NewIEEE(), nil
	case 4:
		return crc64.New(crc64Table), nil
	case 10:
		return sha256.New(), nil
	}
	return nil, errCheck
}

// begin reads the header of a block, which begins with first.
func (b *block) begin(first byte, limits Limits) error {
	const filters, reserved, hasBody, hasOut, lzma2 = 0x03, 0x3c, 0x40, 0x80, 0x21
	b.header = 4 * (int(first) + 1)
	var buf [4 * 256]byte
	header := buf[:b.header]
	header[0] = first
	if err := b.src.full(header[1:]); err != nil {
		return err
	}
	text, sum := header[:len(header)-4], header[len(header)-4:]
	if crc32.ChecksumIEEE(text) != binary.LittleEndian.Uint32(sum) {
		return errData
	}
	flags, rest := text[1], text[2:]
	if flags&reserved != 0 {
		return errData
	}
	ok := true
	if b.hasBody = flags&hasBody != 0; b.hasBody {
		b.body, rest, ok = number(rest)
	}
	if b.hasOut = flags&hasOut != 0; ok && b.hasOut {
		b.out, rest, ok = number(rest)
	}
	if !ok {
		return errData
	}
	if flags&filters != 0 || len(rest) < 3 || rest[0] != lzma2 || rest[1] != 1 {
		return errFilter
	}
	if rest[2] > 40 || len(bytes.Trim(rest[3:], "\x00")) > 0 {
		return errData
	}
	return b.setWindow(rest[2], limits)
}

// setWindow takes the size of the window as a header spells it: 2 or 3 times a power of two, but
// for the largest.
func (b *block) setWindow(bits byte, limits Limits) error {
	size := uint64(2|bits&1) << (bits/2 + 11)
	size = max(min(size, limits.Size), smallestWindow)
	if size > limits.Window {
		return &WindowError{size, limits.Window}
	}
	w := &b.window
	w.size = uint32(size)
	w.restart()
	b.begun = false
	return nil
}

// number reads a number, of which seven bits come at a time.
func number(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 9 || size > 1 && b[size-1] == 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}

// next decodes more. It is io.EOF at the end, when what stands there was compared.
func (b *block) next() error {
	err := b.chunks.next()
	if err == io.EOF {
		if err := b.end(); err != nil {
			return err
		}
		return io.EOF
	}
	if err != nil {
		return err
	}
	out := b.window.unread()
	b.came += uint64(len(out))
	if b.check != nil {
		b.check.Write(out)
	}
	return nil
}

// end reads what comes after the chunks.
func (b *block) end() error {
	body := b.src.n - uint64(b.header)
	if b.hasBody && b.body != body || b.hasOut && b.out != b.came {
		return errData
	}
	var buf [4]byte
	padding := buf[:(4-body%4)%4]
	if err := b.src.full(padding); err != nil {
		return err
	}
	if len(bytes.Trim(padding, "\x00")) > 0 {
		return errData
	}
	b.src.n -= uint64(len(padding)) // which does not count
	if b.check == nil {
		return nil
	}
	want := b.check.Sum(nil)
	if _, isBytes := b.check.(interface{ Sum64() uint64 }); isBytes || len(want) == 4 {
		reverse(want) // numbers are little-endian here
	}
	got := make([]byte, len(want))
	if err := b.src.full(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errSum
	}
	return nil
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}
