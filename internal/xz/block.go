package xz

import (
	"bytes"
	"hash"
	"io"
)

// A block decodes a block. It can be used again for other blocks.
type block struct {
	chunks  lzma2Reader
	src     countingReader
	header  *blockHeader
	decoded io.Reader // the chunks, without the filters
	checkID byte
	check   hash.Hash // nil for none
	size    uint64    // bytes of the contents so far
}

// A countingReader counts the bytes of the chunks.
type countingReader struct {
	io.Reader
	n uint64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += uint64(n)
	return n, err
}

// reset begins to decode a block after its header. No match has a larger distance than reach.
func (b *block) reset(h *blockHeader, checkID byte, src io.Reader, reach uint64) {
	b.src = countingReader{Reader: src}
	b.header, b.checkID, b.size = h, checkID, 0
	b.chunks.reset(&b.src, uint(reach))
	b.decoded = &b.chunks
	for i := len(h.filters) - 1; i >= 0; i-- {
		b.decoded = newFilterReader(b.decoded, h.filters[i])
	}
	b.check = newCheck(checkID)
}

// Read implements io.Reader. The error is io.EOF only after everything was checked.
func (b *block) Read(p []byte) (int, error) {
	n, err := b.decoded.Read(p)
	b.size += uint64(n)
	if b.header.hasSize && b.size > b.header.size {
		return 0, errData
	}
	if b.check != nil {
		b.check.Write(p[:n])
	}
	if err == io.EOF {
		if bad := b.finish(); bad != nil {
			err = bad
		}
	}
	return n, err
}

// finish compares the sizes with the header, and reads zeros up to a multiple of 4, and the check.
func (b *block) finish() error {
	h, compressed := b.header, b.src.n
	if h.compressed != 0 && h.compressed != compressed || h.hasSize && h.size != b.size {
		return errData
	}
	var buf [3 + 64]byte
	padding := int(-compressed & 3)
	tail := buf[:padding+checkSize(b.checkID)]
	if _, err := io.ReadFull(b.src.Reader, tail); err != nil {
		return unexpected(err)
	}
	if len(bytes.Trim(tail[:padding], "\x00")) > 0 {
		return errData
	}
	if b.check != nil && !bytes.Equal(tail[padding:], checkSum(b.check, b.checkID)) {
		return errData
	}
	return nil
}

// record returns what the index has about the block.
func (b *block) record() record {
	return record{uint64(b.header.length) + b.src.n + uint64(checkSize(b.checkID)), b.size}
}
