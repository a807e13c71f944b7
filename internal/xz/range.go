package xz

// The input of the range decoder is a number between 0 and 1, digit by digit. Each bit has a probability, which splits the
// current range in two parts. The part that has the number becomes the new range, and says which bit it is. A probability adapts to the bits that were decoded with it.
const (
	topRange  = 1 << 24 // below it, another byte is read
	probBits  = 11
	probOne   = 1 << probBits
	probStart = probOne / 2
	moveBits  = 5                         // how slowly a probability adapts
	adapt     = probOne - 1<<moveBits + 1 // the bias of a probability that grows
)

const (
	maxChunk   = 1 << 16 // bytes of a compressed chunk
	maxSymbol  = 64      // bits of a symbol, rounded up; a bit takes at most one byte
	chunkSpace = maxChunk + maxSymbol
)

// A prob is the probability that a bit is 0, as a fraction of probOne.
type prob = uint16

// A rangeDecoder is passed by value. So the compiler keeps its fields in registers, which it does not do behind a
// pointer.
type rangeDecoder struct {
	in   *[chunkSpace]byte
	pos  uint   // of the next byte in in
	size uint32 // of the range
	code uint32 // the number, relative to the beginning of the range
}

// normalize reads another byte if the range is small.
func (r rangeDecoder) normalize() rangeDecoder {
	if r.size < topRange {
		r.size <<= 8
		r.code = r.code<<8 | uint32(r.in[r.pos])
		r.pos++
	}
	return r
}

// bit decodes a bit that decides which code runs next.
func (r rangeDecoder) bit(p *prob) (rangeDecoder, bool) {
	r = r.normalize()
	v := uint32(*p)
	bound := r.size >> probBits * v
	if r.code < bound {
		*p = prob(v + (probOne-v)>>moveBits)
		r.size = bound
		return r, false
	}
	*p = prob(v - v>>moveBits)
	r.size -= bound
	r.code -= bound
	return r, true
}

// mask decodes a bit of a number, without a branch. It returns -1 for 0, and 0 for 1.
func (r rangeDecoder) mask(p *prob) (rangeDecoder, uint32) {
	v := uint32(*p)
	bound := r.size >> probBits * v
	above := int64(r.code) - int64(bound)
	zero := uint32(above >> 63)
	*p = prob(int32(v) - (int32(v)-int32(zero&adapt))>>moveBits)
	part := bound & zero
	r.code = uint32(above) + part
	r.size = (r.size-bound)&^zero + part
	return r, zero
}

// literal decodes a byte. The result has another bit above it.
func (r rangeDecoder) literal(probs *[literalProbs]prob) (rangeDecoder, uint32) {
	s := uint32(1)
	for s < 0x100 {
		r = r.normalize()
		var zero uint32
		r, zero = r.mask(&probs[s&0xff])
		s = s<<1 + 1 + zero
	}
	return r, s
}

// matched decodes a byte after a match. The byte that follows the match in the window is a context of its bits,
// until they differ.
func (r rangeDecoder) matched(probs *[literalProbs]prob, match uint32) (rangeDecoder, uint32) {
	s, same := uint32(1), uint32(0x100)
	for s < 0x100 {
		match <<= 1
		bit := match & same
		r = r.normalize()
		var zero uint32
		r, zero = r.mask(&probs[same+bit+s])
		s = s<<1 + 1 + zero
		same &= bit ^ zero
	}
	return r, s
}

// length decodes the length of a match.
func (r rangeDecoder) length(m *lengthModel, posState uint32) (rangeDecoder, uint32) {
	var bit bool
	if r, bit = r.bit(&m.choice[0]); !bit {
		return r.number(m.low[posState&(posStates-1)][:], 8, minMatch)
	}
	if r, bit = r.bit(&m.choice[1]); !bit {
		return r.number(m.mid[posState&(posStates-1)][:], 8, minMatch+8)
	}
	return r.number(m.high[:], 256, minMatch+16)
}

// number decodes a number below limit, a power of two, with the first bit first, and adds base.
func (r rangeDecoder) number(probs []prob, limit, base uint32) (rangeDecoder, uint32) {
	s := uint32(1)
	for s < limit {
		r = r.normalize()
		var zero uint32
		r, zero = r.mask(&probs[s])
		s = s<<1 + 1 + zero
	}
	return r, s - limit + base
}

// reverse decodes a number of bits, with the last bit first.
func (r rangeDecoder) reverse(probs []prob, bits uint32) (rangeDecoder, uint32) {
	s, n := uint32(1), uint32(0)
	for i := range bits {
		r = r.normalize()
		var zero uint32
		r, zero = r.mask(&probs[s])
		s = s<<1 + 1 + zero
		n |= (1 + zero) << (i & 31)
	}
	return r, n
}

// distance decodes the distance of a match, less one. Its highest bits are in a slot.
func (r rangeDecoder) distance(m *model, length uint32) (rangeDecoder, uint32) {
	r, slot := r.number(m.slot[min(length-minMatch, 3)][:], 64, 0)
	if slot < 4 {
		return r, slot
	}
	bits := slot>>1 - 1
	n := (2 | slot&1) << (bits & 31)
	var low uint32
	if slot < endOfModel {
		r, low = r.reverse(m.special[n-slot:], bits)
		return r, n + low
	}
	for range bits - 4 {
		r = r.normalize()
		r.size >>= 1
		above := int64(r.code) - int64(r.size)
		zero := uint32(above >> 63)
		r.code = uint32(above) + r.size&zero
		low = low<<1 + 1 + zero
	}
	n += low << 4
	r, low = r.reverse(m.align[:], 4)
	return r, n + low
}
