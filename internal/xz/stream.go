package xz

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

var (
	errData   = errors.New("xz: the stream is not valid")
	errSum    = errors.New("xz: what comes out does not have the checksum that the stream says")
	errFilter = errors.New("xz: a filter other than LZMA2 is not supported")
	errCheck  = errors.New("xz: the kind of check is not supported")
)

// A WindowError says that decoding takes too much memory.
type WindowError struct{ Size, Limit uint64 }

func (e *WindowError) Error() string {
	return fmt.Sprintf("xz: decoding takes %d MiB, more than %d", e.Size>>20, e.Limit>>20)
}

// Limits say how much there may be.
type Limits struct {
	Size   uint64 // bytes that come out: none are referred to from further back
	Window uint64 // bytes that may be referred to at most
}

// A Reader decodes streams.
type Reader struct {
	limits Limits
	src    counter
	step   func() error // reads what comes next
	flags  [2]byte      // of the stream
	block  block
	count  uint64 // blocks
	sizes  hash.Hash
	err    error
}

// NewReader returns a reader of what comes out of src. Nothing is read from it before the first
// Read.
func NewReader(src io.Reader, limits Limits) *Reader {
	r := &Reader{limits: limits, src: counter{Reader: bufio.NewReaderSize(src, 64<<10)}}
	r.block.src = &r.src
	r.step = r.first
	return r
}

// Read implements io.Reader. A stream that ends too early is io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (int, error) {
	w := &r.block.window
	for w.read == w.pos {
		if r.err != nil {
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		r.err = r.step()
	}
	n := copy(p, w.unread())
	w.read += n
	return n, nil
}

const (
	headerMagic = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	ends        = 12 // bytes of a header and of a footer
)

// first reads the header of the first stream.
func (r *Reader) first() error {
	if _, err := r.src.Peek(1); err != nil {
		return unexpected(err)
	}
	return r.header()
}

// header reads the header of a stream.
func (r *Reader) header() error {
	var b [ends]byte
	if err := r.src.full(b[:]); err != nil {
		return err
	}
	if string(b[:6]) != headerMagic || binary.LittleEndian.Uint32(b[8:]) != crc32.ChecksumIEEE(b[6:8]) || b[6] != 0 || b[7] > 15 {
		return errData
	}
	copy(r.flags[:], b[6:])
	r.count, r.sizes = 0, sha256.New()
	r.step = r.blockOrIndex
	_, err := newCheck(b[7])
	return err
}

// blockOrIndex stands before a block, or before the index, which begins with zero.
func (r *Reader) blockOrIndex() (err error) {
	r.src.n = 0
	first, err := r.src.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if first == 0 {
		return r.index()
	}
	b := &r.block
	b.came = 0
	if b.check, err = newCheck(r.flags[1]); err != nil {
		return err
	}
	r.step = r.inBlock
	return b.begin(first, r.limits)
}

// inBlock decodes more of a block.
func (r *Reader) inBlock() error {
	err := r.block.next()
	if err != io.EOF {
		return err
	}
	r.count++
	r.sizes.Write(record(r.src.n, r.block.came))
	r.step = r.blockOrIndex
	return nil
}

// record is what the index says of a block.
func record(size, came uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, size), came)
}

// index reads the index after its first byte, and compares it with the blocks.
func (r *Reader) index() error {
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	number := func() (uint64, error) {
		n, err := binary.ReadUvarint(&r.src)
		sum.Write(binary.AppendUvarint(nil, n))
		return n, unexpected(err)
	}
	n, err := number()
	if err != nil {
		return err
	}
	if n != r.count {
		return errData
	}
	sizes := sha256.New()
	for range n {
		size, err := number()
		if err != nil {
			return err
		}
		came, err := number()
		if err != nil {
			return err
		}
		sizes.Write(record(size, came))
	}
	if !bytes.Equal(sizes.Sum(nil), r.sizes.Sum(nil)) {
		return errData
	}
	var buf [4]byte
	padding := buf[:(4-r.src.n%4)%4]
	if err := r.src.full(padding); err != nil {
		return err
	}
	if len(bytes.Trim(padding, "\x00")) > 0 {
		return errData
	}
	sum.Write(padding)
	size := r.src.n
	if err := r.src.full(buf[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(buf[:]) != sum.Sum32() {
		return errData
	}
	return r.footer(size + 4)
}

// footer reads the end of a stream, whose index has that size.
func (r *Reader) footer(index uint64) error {
	var b [ends]byte
	if err := r.src.full(b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:]) != crc32.ChecksumIEEE(b[4:10]) || string(b[10:]) != footerMagic ||
		!bytes.Equal(b[8:10], r.flags[:]) || (uint64(binary.LittleEndian.Uint32(b[4:]))+1)*4 != index {
		return errData
	}
	r.step = r.padding
	return nil
}

// padding stands at the end, or before zeros, or before another stream.
func (r *Reader) padding() error {
	b, err := r.src.Peek(4)
	if len(b) == 0 {
		return err
	}
	if err != nil {
		return unexpected(err)
	}
	if binary.LittleEndian.Uint32(b) != 0 {
		r.step = r.header
		return nil
	}
	r.src.Discard(4)
	return nil
}
