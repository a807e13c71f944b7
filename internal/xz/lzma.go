package xz

import "encoding/binary"

const (
	states       = 12
	litStates    = 7 // below, the last thing was a literal
	posStates    = 16
	minMatch     = 2
	distStates   = 4
	firstModel   = 4  // distance slots from here on have more bits
	firstDirect  = 14 // and from here on some of them have no probabilities
	alignBits    = 4
	literalSize  = 0x300
	mostLiterals = 16 // coders of literals: lc + lp is at most 4
)

// A lengthCoder is the probabilities of the length of a match.
type lengthCoder struct {
	choice [2]uint16
	low    [posStates][8]uint16
	mid    [posStates][8]uint16
	high   [256]uint16
}

// A probabilities is all that is adapted.
type probabilities struct {
	isMatch    [states][posStates]uint16
	isRep      [states]uint16
	isRep0     [states]uint16
	isRep1     [states]uint16
	isRep2     [states]uint16
	isRep0Long [states][posStates]uint16
	slots      [distStates][64]uint16
	special    [128]uint16
	align      [1 << alignBits]uint16
	length     lengthCoder
	repLength  lengthCoder
	literals   [mostLiterals*literalSize + 0x100]uint16 // the last coder, too, is looked at as if it were longer
}

// A literalCoder is the probabilities of literals in one context. The last 256 belong to the next.
type literalCoder [literalSize + 0x100]uint16

// An lzma is a decoder of LZMA between two chunks.
type lzma struct {
	p      probabilities
	state  uint32
	reps   [4]uint32 // the last distances, less one
	lc     uint32    // high bits of the previous byte that choose a coder of literals
	lpMask uint32    // low bits of the position that do
	pbMask uint32    // low bits of the position that choose among others
}

// setProperties takes lc, lp and pb from their byte.
func (z *lzma) setProperties(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := uint32(b)%9, uint32(b)/9%5, uint32(b)/45
	if lc+lp > 4 {
		return false
	}
	z.lc, z.lpMask, z.pbMask = lc, 1<<lp-1, 1<<pb-1
	return true
}

func fill(p []uint16) {
	for i := range p {
		p[i] = evenProb
	}
}

// reset makes everything as probable as anything else.
func (z *lzma) reset() {
	p := &z.p
	for i := range states {
		fill(p.isMatch[i][:])
		fill(p.isRep0Long[i][:])
	}
	for _, flags := range []*[states]uint16{&p.isRep, &p.isRep0, &p.isRep1, &p.isRep2} {
		fill(flags[:])
	}
	for i := range p.slots {
		fill(p.slots[i][:])
	}
	fill(p.special[:])
	fill(p.align[:])
	p.length.reset()
	p.repLength.reset()
	fill(p.literals[:])
	z.state, z.reps = 0, [4]uint32{}
}

func (l *lengthCoder) reset() {
	fill(l.choice[:])
	for i := range posStates {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

// inSlack is how many bytes are read of the input at most between two looks at whether there
// are any.
const inSlack = 32

// outSlack is how many bytes are written behind a match.
const outSlack = 8

// decode decodes a chunk of so many bytes, after which there are inSlack more, to the next n
// bytes of the window.
func (z *lzma) decode(chunk *input, size int, w *window, n int) bool {
	if size < 5 || chunk[0] != 0 {
		return false
	}
	r := ranged{rng: 1<<32 - 1, code: binary.BigEndian.Uint32(chunk[1:]), in: chunk, at: 5}
	p := &z.p
	state, rep0 := z.state, z.reps[0]
	buf, start, origin := w.buf, w.start, w.origin
	pos, end := w.pos, w.pos+n
	for pos < end {
		if r.at > size {
			return false
		}
		posState := uint32(pos-origin) & z.pbMask & (posStates - 1)
		var yes bool
		if r, yes = r.filled().bit(&p.isMatch[state][posState]); !yes {
			prev := uint32(0)
			if pos > start {
				prev = uint32(buf[pos-1])
			}
			coder := (uint32(pos-origin)&z.lpMask)<<z.lc + prev>>(8-z.lc)
			probs := (*literalCoder)(p.literals[coder*literalSize:])
			if state < litStates {
				r, buf[pos] = r.literal(probs)
			} else {
				if uint64(rep0) >= uint64(pos-start) {
					return false
				}
				r, buf[pos] = r.matchedLiteral(probs, uint32(buf[pos-int(rep0)-1]))
			}
			pos++
			state = afterLiteral[state]
			continue
		}
		var length uint32
		if r, yes = r.filled().bit(&p.isRep[state]); !yes {
			z.reps[3], z.reps[2], z.reps[1] = z.reps[2], z.reps[1], rep0
			r, length = r.length(&p.length, posState)
			r, rep0 = r.distance(p, min(length, distStates-1))
			state = afterMatch(state)
		} else {
			if r, yes = r.filled().bit(&p.isRep0[state]); !yes {
				if r, yes = r.filled().bit(&p.isRep0Long[state][posState]); !yes {
					if uint64(rep0) >= uint64(pos-start) {
						return false
					}
					buf[pos] = buf[pos-int(rep0)-1]
					pos++
					state = afterShortRep(state)
					continue
				}
			} else {
				r, rep0 = z.earlier(r, rep0, state)
			}
			r, length = r.length(&p.repLength, posState)
			state = afterRep(state)
		}
		n := int(length) + minMatch
		if uint64(rep0) >= uint64(pos-start) || rep0 >= w.size || n > end-pos {
			return false
		}
		repeat(buf, pos, int(rep0)+1, n)
		pos += n
	}
	z.state, z.reps[0], w.pos = state, rep0, pos
	return r.finished(size)
}

// earlier decodes which of the earlier distances is the next one.
func (z *lzma) earlier(r ranged, rep0, state uint32) (ranged, uint32) {
	which := 1
	r, yes := r.filled().bit(&z.p.isRep1[state])
	if yes {
		which = 2
		if r, yes = r.filled().bit(&z.p.isRep2[state]); yes {
			which = 3
		}
	}
	next := z.reps[which]
	copy(z.reps[2:which+1], z.reps[1:which])
	z.reps[1] = rep0
	return r, next
}

// finished reports whether nothing is left.
func (r ranged) finished(size int) bool {
	r = r.filled()
	return r.at == size && r.code == 0
}

// repeat writes n bytes at pos, the same as those that distance bytes before, and maybe a few
// more.
func repeat(buf []byte, pos, distance, n int) {
	if distance < 8 {
		for end := pos + n; pos < end; pos++ {
			buf[pos] = buf[pos-distance]
		}
		return
	}
	for end := pos + n; pos < end; pos += 8 {
		binary.LittleEndian.PutUint64(buf[pos:], binary.LittleEndian.Uint64(buf[pos-distance:]))
	}
}

var afterLiteral = [states]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

func afterMatch(state uint32) uint32 {
	if state < litStates {
		return 7
	}
	return 10
}

func afterRep(state uint32) uint32 {
	if state < litStates {
		return 8
	}
	return 11
}

func afterShortRep(state uint32) uint32 {
	if state < litStates {
		return 9
	}
	return 11
}
