package xz

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
)

// A record is what the index has about a block.
type record struct {
	unpadded uint64 // bytes of the header, the chunks and the check
	size     uint64 // bytes of the contents
}

// records are the records of a stream. Only their hash is kept: a stream may have millions of them.
type records struct {
	n    uint64
	hash hash.Hash
}

func newRecords() *records { return &records{hash: sha256.New()} }

func (r *records) add(one record) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], one.unpadded)
	binary.LittleEndian.PutUint64(b[8:], one.size)
	r.hash.Write(b[:])
	r.n++
}

// An indexReader reads and counts the bytes of an index, and computes their sum.
type indexReader struct {
	src *bufio.Reader
	n   uint64
	sum uint32
}

// ReadByte implements io.ByteReader.
func (r *indexReader) ReadByte() (byte, error) {
	b, err := r.src.ReadByte()
	if err == nil {
		r.n++
		r.sum = crc32.Update(r.sum, crc32.IEEETable, []byte{b})
	}
	return b, err
}

// checkIndex reads an index, and compares it with the blocks that were decoded. It returns the size of the index.
func checkIndex(src *bufio.Reader, decoded *records) (size uint64, err error) {
	r := &indexReader{src: src}
	if _, err := r.ReadByte(); err != nil { // the zero
		return 0, unexpected(err)
	}
	n, err := readNumber(r)
	if err != nil {
		return 0, err
	}
	if n != decoded.n {
		return 0, errData
	}
	found := newRecords()
	for range n {
		var one record
		if one.unpadded, err = readNumber(r); err != nil {
			return 0, err
		}
		if one.size, err = readNumber(r); err != nil {
			return 0, err
		}
		found.add(one)
	}
	if !bytes.Equal(found.hash.Sum(nil), decoded.hash.Sum(nil)) {
		return 0, errData
	}
	for r.n%4 != 0 {
		if b, err := r.ReadByte(); err != nil {
			return 0, unexpected(err)
		} else if b != 0 {
			return 0, errData
		}
	}
	var sum [4]byte
	if _, err := io.ReadFull(src, sum[:]); err != nil {
		return 0, unexpected(err)
	}
	if binary.LittleEndian.Uint32(sum[:]) != r.sum {
		return 0, errData
	}
	return r.n + uint64(len(sum)), nil
}
