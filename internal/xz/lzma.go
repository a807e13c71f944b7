package xz

import "encoding/binary"

const (
	states       = 12
	posStates    = 16
	literalState = 7     // the first state after a match
	literalProbs = 0x300 // probabilities for one context of a literal
	maxLiterals  = 16    // contexts of a literal
	minMatch     = 2
	maxMatch     = 273
	endOfModel   = 14 // the first slot whose distances have bits without a probability
)

// afterLiteral has the state after a literal, for each state.
var afterLiteral = [states]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// A lengthModel has the probabilities of the length of a match.
type lengthModel struct {
	choice   [2]prob
	low, mid [posStates][8]prob
	high     [256]prob
}

func (m *lengthModel) reset() {
	fill(m.choice[:])
	for i := range posStates {
		fill(m.low[i][:])
		fill(m.mid[i][:])
	}
	fill(m.high[:])
}

// A model has the probabilities of LZMA.
type model struct {
	match, longRep0        [states][posStates]prob
	rep                    [states]prob
	rep0, rep1, rep2       [states]prob
	slot                   [4][64]prob
	special                [1 << (endOfModel / 2)]prob
	align                  [16]prob
	matchLength, repLength lengthModel
	literal                [maxLiterals * literalProbs]prob
}

func (m *model) reset() {
	for i := range states {
		fill(m.match[i][:])
		fill(m.longRep0[i][:])
	}
	for i := range m.slot {
		fill(m.slot[i][:])
	}
	for _, probs := range [][]prob{m.rep[:], m.rep0[:], m.rep1[:], m.rep2[:], m.special[:], m.align[:], m.literal[:]} {
		fill(probs)
	}
	m.matchLength.reset()
	m.repLength.reset()
}

func fill(probs []prob) {
	for i := range probs {
		probs[i] = probStart
	}
}

// An lzma decodes the symbols of LZMA.
type lzma struct {
	model
	rc          rangeDecoder
	state       uint32
	reps        [4]uint32 // the last distances, less one
	lc          uint32
	literalMask uint32
	posMask     uint32
}

// reset begins a new state.
func (d *lzma) reset() {
	d.model.reset()
	d.state, d.reps = 0, [4]uint32{}
}

// setProperties sets the number of bits that select a context. false if they are out of range.
func (d *lzma) setProperties(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := b%9, b/9%5, b/45
	if lc+lp > 4 {
		return false
	}
	d.lc, d.literalMask, d.posMask = uint32(lc), 0x100<<lp-0x100>>lc, 1<<pb-1
	return true
}

// start begins to read a chunk. false if it does not begin with a zero.
func (d *lzma) start(in *[chunkSpace]byte) bool {
	d.rc = rangeDecoder{in: in, pos: 5, size: 0xffffffff, code: binary.BigEndian.Uint32(in[1:])}
	return in[0] == 0
}

// runGeneric implements run in Go, for processors without assembly.
func (d *lzma) runGeneric(w *window, limit, end uint) bool {
	rc, state, buf, pos, prev := d.rc, d.state, w.buf, w.pos, w.last()
	for pos < limit && rc.pos <= end {
		posState := uint32(pos) & d.posMask & (posStates - 1)
		var bit bool
		if rc, bit = rc.bit(&d.match[state][posState]); !bit {
			context := (uint32(pos)<<8 + prev) & d.literalMask << d.lc >> 8 & (maxLiterals - 1)
			probs := (*[literalProbs]prob)(d.literal[context*literalProbs:])
			if state < literalState {
				rc, prev = rc.literal(probs)
				state = afterLiteral[state]
			} else {
				rc, prev = rc.matched(probs, uint32(w.at(pos, d.reps[0])))
				state = afterLiteral[state]
			}
			prev &= 0xff
			buf[pos] = byte(prev)
			pos++
			continue
		}
		var length uint32
		if rc, bit = rc.bit(&d.rep[state]); !bit {
			rc, length = rc.length(&d.matchLength, posState)
			d.reps[3], d.reps[2], d.reps[1] = d.reps[2], d.reps[1], d.reps[0]
			rc, d.reps[0] = rc.distance(&d.model, length)
			state = afterMatch(state, 7)
		} else if rc, bit = d.repeated(rc, state, posState); bit {
			rc, length = rc.length(&d.repLength, posState)
			state = afterMatch(state, 8)
		} else {
			length = 1
			state = min(afterMatch(state, 9), states-1)
		}
		if !w.reaches(pos, d.reps[0]) {
			return false
		}
		pos = w.repeat(pos, d.reps[0], length)
		prev = uint32(buf[pos-1])
	}
	d.rc, d.state, w.pos = rc, state, pos
	return true
}

// repeated decodes which of the last distances a match has, and moves it to the front. It returns false for a match of one
// byte.
func (d *lzma) repeated(rc rangeDecoder, state, posState uint32) (rangeDecoder, bool) {
	state = min(state, states-1)
	rc, bit := rc.bit(&d.rep0[state])
	if !bit {
		return rc.bit(&d.longRep0[state][posState&(posStates-1)])
	}
	i := 1
	if rc, bit = rc.bit(&d.rep1[state]); bit {
		i = 2
		if rc, bit = rc.bit(&d.rep2[state]); bit {
			i = 3
		}
	}
	distance := d.reps[i]
	copy(d.reps[1:i+1], d.reps[:i])
	d.reps[0] = distance
	return rc, true
}

// afterMatch returns the state after a match: after a literal, or 3 more.
func afterMatch(state, next uint32) uint32 {
	if state >= literalState {
		return next + 3
	}
	return next
}

// isFinished reports whether the range decoder has used the whole input of end bytes, and ended as the encoder did.
func (d *lzma) isFinished(end uint) bool {
	d.rc = d.rc.normalize()
	return d.rc.pos == end && d.rc.code == 0
}
