package xz

import "encoding/binary"

const (
	// apart is the least distance between the write position and the oldest byte that a match can reach. A match, and
	// the copy of whole words, write this much ahead at most.
	apart    = 512
	overhang = apart // bytes after the ring, for a match that begins in it
)

// A window is a ring with the last bytes of the contents. A match that begins in the ring may end in the overhang behind
// it, so a symbol is never split.
type window struct {
	buf   []byte
	ring  uint // a multiple of posStates, at least reach + apart
	reach uint // the largest distance
	pos   uint // in buf
	full  uint // bytes of the ring that are older than those before pos: 0 after a reset, ring once it has wrapped
	read  uint // bytes before pos that have been returned
}

// reset forgets all bytes. They must have been read.
func (w *window) reset() { w.pos, w.read, w.full = 0, 0, 0 }

// init sets the largest distance.
func (w *window) init(reach uint) {
	w.ring, w.reach = (reach+apart+posStates-1)&^(posStates-1), reach
	if n := w.ring + overhang; uint(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	} else {
		w.buf = w.buf[:n]
	}
	w.reset()
}

// last returns the last byte, or 0 after a reset.
func (w *window) last() uint32 {
	switch {
	case w.pos > 0:
		return uint32(w.buf[w.pos-1])
	case w.full > 0:
		return uint32(w.buf[w.ring-1])
	}
	return 0
}

// reaches reports whether the window has a byte at a distance, less one, before pos.
func (w *window) reaches(pos uint, distance uint32) bool {
	return uint(distance) < pos+w.full && uint(distance) < w.reach
}

// at returns the byte at a distance, less one, before pos.
func (w *window) at(pos uint, distance uint32) byte {
	at := pos - uint(distance) - 1
	if at > pos {
		at += w.ring
	}
	return w.buf[at]
}

// repeat copies a match to pos, and returns the position after it.
func (w *window) repeat(pos uint, distance, length uint32) uint {
	const word = 8
	buf, from, end := w.buf, pos-uint(distance)-1, pos+uint(length)
	if distance < word-1 || from > pos {
		w.repeatBytes(pos, from, uint(length))
		return end
	}
	for ; pos < end; pos += word {
		binary.LittleEndian.PutUint64(buf[pos:], binary.LittleEndian.Uint64(buf[from:]))
		from += word
	}
	return end
}

// repeatBytes copies n bytes that overlap, or that begin before the ring.
func (w *window) repeatBytes(pos, from, n uint) {
	buf := w.buf
	if from > pos {
		from += w.ring
		for range n {
			if from == w.ring {
				from = 0
			}
			buf[pos] = buf[from]
			pos++
			from++
		}
		return
	}
	for n > 0 { // each round, twice as many bytes are there
		k := uint(copy(buf[pos:pos+n], buf[from:pos]))
		pos += k
		n -= k
	}
}

// wrap begins the ring again after its end. All bytes must have been read.
func (w *window) wrap() {
	if w.pos >= w.ring {
		copy(w.buf, w.buf[w.ring:w.pos])
		w.pos -= w.ring
		w.full = w.ring
		w.read = w.pos
	}
}
