package xz

import (
	"encoding/binary"
	"io"
)

// Control bytes of chunks. The low bits of a compressed chunk's byte belong to its size.
const (
	endOfChunks   = 0x00
	storedReset   = 0x01 // stored, after a reset of the window
	stored        = 0x02
	compressed    = 0x80
	resetState    = 0xa0
	newProperties = 0xc0
	resetAll      = 0xe0 // the window too
	sizeBits      = 0x1f
)

// maxStep is the number of bytes that are decoded before they are read: few enough for the cache of a processor.
const maxStep = 64 << 10

// An lzma2Reader decodes the chunks of LZMA2. A chunk is in memory before it is decoded, so a symbol never lacks input.
type lzma2Reader struct {
	src    io.Reader
	window window
	lzma   lzma
	in     [chunkSpace]byte

	needReset      bool // of the window
	needProperties bool
	isStored       bool
	left           uint // bytes of the chunk that are not decoded
	used           uint // of a stored chunk
	size           uint // compressed bytes of the chunk
	done           bool
}

// reset begins a sequence of chunks with another source and window.
func (r *lzma2Reader) reset(src io.Reader, window uint) {
	r.src = src
	r.window.init(window)
	r.needReset, r.needProperties, r.left, r.done = true, true, 0, false
}

// Read implements io.Reader. The error is io.EOF only after the end of the chunks.
func (r *lzma2Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w := &r.window
	for w.read == w.pos {
		if r.done {
			return 0, io.EOF
		}
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.buf[w.read:w.pos])
	w.read += uint(n)
	return n, nil
}

// step decodes a part of a chunk. All decoded bytes must have been read.
func (r *lzma2Reader) step() error {
	if r.left == 0 {
		if err := r.next(); err != nil || r.done {
			return err
		}
	}
	w := &r.window
	w.wrap()
	limit := min(w.pos+min(r.left, maxStep), w.ring)
	begin := w.pos
	if r.isStored {
		n := uint(copy(w.buf[begin:limit], r.in[r.used:r.size]))
		r.used += n
		w.pos += n
		r.left -= n
		return nil
	}
	if !r.lzma.run(w, limit, r.size) {
		return errData
	}
	n := w.pos - begin
	if n > r.left || w.pos < limit || r.lzma.rc.pos > r.size {
		return errData
	}
	if r.left -= n; r.left == 0 && !r.lzma.isFinished(r.size) {
		return errData
	}
	return nil
}

// next reads a chunk.
func (r *lzma2Reader) next() error {
	var header [6]byte
	if err := r.read(header[:1]); err != nil {
		return err
	}
	control := header[0]
	if control == endOfChunks {
		r.done = true
		return nil
	}
	if control >= resetAll || control == storedReset {
		r.needReset, r.needProperties = false, true
		r.window.reset()
	} else if r.needReset {
		return errData
	}
	if control < compressed {
		return r.nextStored(control, header[:2])
	}
	length := 4
	if control >= newProperties {
		length++
	}
	if err := r.read(header[1 : 1+length]); err != nil {
		return err
	}
	r.isStored = false
	r.left = uint(control&sizeBits)<<16 + uint(binary.BigEndian.Uint16(header[1:])) + 1
	r.size = uint(binary.BigEndian.Uint16(header[3:])) + 1
	switch {
	case control >= newProperties:
		r.needProperties = false
		if !r.lzma.setProperties(header[5]) {
			return errData
		}
		r.lzma.reset()
	case r.needProperties:
		return errData
	case control >= resetState:
		r.lzma.reset()
	}
	if err := r.read(r.in[:r.size]); err != nil {
		return err
	}
	clear(r.in[r.size:][:maxSymbol])
	if r.size < 5 || !r.lzma.start(&r.in) {
		return errData
	}
	return nil
}

// nextStored reads a stored chunk.
func (r *lzma2Reader) nextStored(control byte, size []byte) error {
	if control > stored {
		return errData
	}
	if err := r.read(size); err != nil {
		return err
	}
	r.isStored, r.used = true, 0
	r.size = uint(binary.BigEndian.Uint16(size)) + 1
	r.left = r.size
	return r.read(r.in[:r.size])
}

func (r *lzma2Reader) read(p []byte) error {
	_, err := io.ReadFull(r.src, p)
	return unexpected(err)
}
