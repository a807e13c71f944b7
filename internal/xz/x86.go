package xz

import "encoding/binary"

// An x86State undoes the filter for x86. Instructions have no alignment, so the encoder guesses which bytes begin a call or a
// jump: 0xe8 or 0xe9, with an address whose highest byte is 0x00 or 0xff. The guess depends on such bytes just before.
type x86State struct {
	mask uint32 // a bit for each of the last 3 bytes that could begin an instruction, but was not taken for one
}

// isHigh reports whether b can be the highest byte of an address.
func isHigh(b byte) bool { return b == 0x00 || b == 0xff }

func (s *x86State) undo(pos uint32, b []byte) int {
	const length = 5
	mask, before := s.mask, -1 // the position of the last byte that could begin an instruction
	i := 0
	for ; i+length <= len(b); i++ {
		if b[i]&0xfe != 0xe8 {
			continue
		}
		if distance := i - before; distance > 3 {
			mask = 0
		} else if mask = mask << (distance - 1) & 7; mask != 0 {
			if blocked(mask) || isHigh(b[i+4-int(shiftOf[mask])]) {
				before, mask = i, mask<<1|1
				continue
			}
		}
		before = i
		if !isHigh(b[i+4]) {
			mask = mask<<1 | 1
			continue
		}
		address := b[i+1 : i+length]
		v := relative(binary.LittleEndian.Uint32(address), pos+uint32(i)+length, mask)
		binary.LittleEndian.PutUint32(address, v&0x01ffffff|-(v&0x01000000))
		i += length - 1
	}
	if distance := i - before; distance > 3 {
		s.mask = 0
	} else {
		s.mask = mask << (distance - 1)
	}
	return i
}

// shiftOf has, for each mask, how many bytes before the end of the address the address of the earlier byte ends.
var shiftOf = [8]uint8{0, 1, 2, 2, 3, 3, 3, 3}

// blocked reports whether the encoder takes no instruction after these bytes.
func blocked(mask uint32) bool { return mask == 3 || mask > 4 }

// relative turns an absolute address to one that is relative to from.
func relative(v, from, mask uint32) uint32 {
	for {
		r := v - from
		if mask == 0 {
			return r
		}
		shift := uint32(shiftOf[mask]) * 8
		if !isHigh(byte(r >> (24 - shift))) {
			return r
		}
		v = r ^ (1<<(32-shift) - 1)
	}
}
