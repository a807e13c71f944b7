package xz

import (
	"bufio"
	"encoding/binary"
	"io"
)

const (
	mostChunk      = 1 << 16 // bytes of a chunk as it is stored
	mostFromChunk  = 1 << 21 // bytes that come out of one
	smallestWindow = 4 << 10
)

// A window is what came out last, as far as it may be referred to, and what was not read yet. It
// lies in a buffer in which it is moved back when there is no more room behind it.
type window struct {
	size   uint32 // how far back references go, in bytes
	buf    []byte
	read   int // up to here it was read
	pos    int // up to here it is decoded
	start  int // from here on it may be referred to
	origin int // where it would begin if nothing had been let go of
}

// restart forgets all that came out.
func (w *window) restart() { w.start, w.origin = w.pos, w.pos }

// unread returns what was decoded and not read.
func (w *window) unread() []byte { return w.buf[w.read:w.pos] }

// makeRoom makes room for n bytes more. All was read.
func (w *window) makeRoom(n int) {
	size := int(w.size)
	most := size + max(size/2, mostFromChunk) + outSlack
	need := w.pos + n + outSlack
	if need > most {
		w.move(max(w.start, w.pos-size))
		need = w.pos + n + outSlack
	}
	if need > len(w.buf) {
		grown := make([]byte, min(max(2*len(w.buf), need), most))
		copy(grown, w.buf[:w.pos])
		w.buf = grown
	}
}

// move lets go of all before the place from.
func (w *window) move(from int) {
	copy(w.buf, w.buf[from:w.pos])
	w.pos, w.read, w.origin = w.pos-from, w.read-from, w.origin-from
	w.start = max(w.start-from, 0)
}

// A chunks decodes the chunks of a block.
type chunks struct {
	src     *counter
	window  window
	lzma    *lzma // made when it is needed first
	in      *input
	begun   bool // a chunk has said that nothing before is referred to
	hasProp bool
}

// next decodes a chunk. The last one is io.EOF.
func (c *chunks) next() error {
	const restarted, stored, compressed = 0x01, 0x02, 0x80
	control, err := c.src.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if control == 0 {
		return io.EOF
	}
	if control == restarted || control >= 0xe0 {
		c.window.restart()
		c.begun, c.hasProp = true, false
	}
	if !c.begun || control > stored && control < compressed {
		return errData
	}
	if control < compressed {
		return c.store()
	}
	return c.decompress(control)
}

// store takes a chunk that is not compressed.
func (c *chunks) store() error {
	var head [2]byte
	if err := c.src.full(head[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(head[:])) + 1
	w := &c.window
	w.makeRoom(n)
	if err := c.src.full(w.buf[w.pos:][:n]); err != nil {
		return err
	}
	w.pos += n
	return nil
}

// decompress decodes a chunk that is compressed.
func (c *chunks) decompress(control byte) error {
	const newState, newProperties = 0xa0, 0xc0
	head := c.chunkBuffer()[:5]
	if control < newProperties {
		head = head[:4]
	}
	if err := c.src.full(head); err != nil {
		return err
	}
	n := int(control&0x1f)<<16 + int(binary.BigEndian.Uint16(head)) + 1
	size := int(binary.BigEndian.Uint16(head[2:])) + 1
	switch {
	case control >= newProperties:
		if !c.lzma.setProperties(head[4]) {
			return errData
		}
		c.hasProp = true
		c.lzma.reset()
	case !c.hasProp:
		return errData
	case control >= newState:
		c.lzma.reset()
	}
	if err := c.src.full(c.in[:size]); err != nil {
		return err
	}
	c.window.makeRoom(n)
	if !c.lzma.decode(c.in, size, &c.window, n) {
		return errData
	}
	return nil
}

// chunkBuffer returns a buffer for a chunk.
func (c *chunks) chunkBuffer() *input {
	if c.in == nil {
		c.in = new(input)
		c.lzma = new(lzma)
	}
	return c.in
}

// A counter counts what is read.
type counter struct {
	*bufio.Reader
	n uint64
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// full fills p. That there is not enough is io.ErrUnexpectedEOF.
func (c *counter) full(p []byte) error {
	n, err := io.ReadFull(c.Reader, p)
	c.n += uint64(n)
	return unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
