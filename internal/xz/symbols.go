package xz

// literal decodes a byte.
func (r ranged) literal(probs *literalCoder) (ranged, byte) {
	symbol, bit := uint32(1), uint32(0)
	for range 8 {
		r, bit = r.filled().guess(&probs[symbol&0xff])
		symbol = symbol<<1 | bit
	}
	return r, byte(symbol)
}

// matchedLiteral decodes a byte that is not the one which would go on with the last match.
func (r ranged) matchedLiteral(probs *literalCoder, match uint32) (ranged, byte) {
	symbol, same, bit := uint32(1), uint32(0x100), uint32(0)
	for range 8 {
		match <<= 1
		r, bit = r.filled().guess(&probs[(same+match&same+symbol)&0x3ff])
		symbol = symbol<<1 | bit
		same &= match ^ (bit - 1) // until they differ
	}
	return r, byte(symbol)
}

// length decodes the length of a match, less the shortest.
func (r ranged) length(l *lengthCoder, posState uint32) (ranged, uint32) {
	r, more := r.filled().bit(&l.choice[0])
	if !more {
		return r.three(&l.low[posState])
	}
	r, more = r.filled().bit(&l.choice[1])
	if !more {
		r, n := r.three(&l.mid[posState])
		return r, n + 8
	}
	n, bit := uint32(1), uint32(0)
	for range 8 {
		r, bit = r.filled().guess(&l.high[n&0xff])
		n = n<<1 | bit
	}
	return r, n - 256 + 16
}

// three decodes three bits, the highest first.
func (r ranged) three(probs *[8]uint16) (ranged, uint32) {
	n, bit := uint32(1), uint32(0)
	for range 3 {
		r, bit = r.filled().guess(&probs[n&7])
		n = n<<1 | bit
	}
	return r, n - 8
}

// distance decodes the distance of a match, less one.
func (r ranged) distance(p *probabilities, state uint32) (ranged, uint32) {
	probs := &p.slots[state]
	slot, bit := uint32(1), uint32(0)
	for range 6 {
		r, bit = r.filled().guess(&probs[slot&63])
		slot = slot<<1 | bit
	}
	slot -= 64
	if slot < firstModel {
		return r, slot
	}
	bits := slot/2 - 1
	distance := (2 | slot&1) << bits
	if slot < firstDirect {
		r, low := r.reverse(p.special[distance-slot:], bits)
		return r, distance + low
	}
	r, high := r.direct(bits - alignBits)
	r, low := r.reverse(p.align[:], alignBits)
	return r, distance + high<<alignBits + low
}

// reverse decodes so many bits, the lowest first.
func (r ranged) reverse(probs []uint16, bits uint32) (_ ranged, value uint32) {
	place, bit := uint32(1), uint32(0)
	for i := range bits {
		r, bit = r.filled().guess(&probs[place])
		place = place<<1 | bit
		value |= bit << i
	}
	return r, value
}

// direct decodes so many bits that have no probabilities, the highest first.
func (r ranged) direct(bits uint32) (_ ranged, value uint32) {
	for range bits {
		r = r.filled()
		r.rng >>= 1
		one := ^uint32((uint64(r.code) - uint64(r.rng)) >> 32) // all ones for 1, and 0 for 0
		r.code -= r.rng & one
		value = value<<1 - one
	}
	return r, value
}
