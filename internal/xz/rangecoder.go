package xz

// What LZMA decodes is bits, each with a probability of its own, which goes with what the bit is
// about and is adapted each time. A range is divided in proportion: code lies in the lower part for
// 0, in the upper part for 1. When the range becomes small another byte is shifted in.

const (
	probBits = 11
	evenProb = 1 << probBits / 2
	adapt    = 5       // how slowly probabilities change
	top      = 1 << 24 // a range below takes another byte
)

// An input is a chunk. Masked, a place in it is always within.
type input [2 * mostChunk]byte

// A ranged is what is left to decode of a chunk. It is small enough to be kept in registers, and
// so is handed on by value.
type ranged struct {
	rng, code uint32
	at        int
	in        *input
}

// filled shifts in another byte if it is time.
func (r ranged) filled() ranged {
	if r.rng < top {
		r.rng <<= 8
		r.code = r.code<<8 | uint32(r.in[r.at&(len(r.in)-1)])
		r.at++
	}
	return r
}

// bit decodes one bit that is easy to guess.
func (r ranged) bit(p *uint16) (ranged, bool) {
	prob := uint32(*p)
	bound := r.rng >> probBits * prob
	if r.code < bound {
		r.rng = bound
		*p = uint16(prob + (1<<probBits-prob)>>adapt)
		return r, false
	}
	r.rng -= bound
	r.code -= bound
	*p = uint16(prob - prob>>adapt)
	return r, true
}

// guess decodes one bit that nobody can guess. It is written so that there is no branch.
func (r ranged) guess(p *uint16) (ranged, uint32) {
	prob := int32(*p)
	bound := r.rng >> probBits * uint32(prob)
	rng, code, from, bit := r.rng-bound, r.code-bound, prob, uint32(1)
	if r.code < bound {
		rng, code, from, bit = bound, r.code, prob-rounded, 0
	}
	r.rng, r.code = rng, code
	*p = uint16(prob - from>>adapt)
	return r, bit
}

// rounded makes the sum for a 0 the same as that of bit.
const rounded = 1<<probBits - 1<<adapt + 1
