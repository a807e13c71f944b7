package xz

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Filters. The last one of a block is LZMA2. Before it, up to 3 others may stand: delta, or BCJ filters, which turn the
// absolute addresses of calls and jumps in machine code to relative ones.
const (
	filterDelta    = 0x03
	filterX86      = 0x04
	filterPowerPC  = 0x05
	filterIA64     = 0x06
	filterARM      = 0x07
	filterARMThumb = 0x08
	filterSPARC    = 0x09
	filterARM64    = 0x0a
	filterLZMA2    = 0x21
	maxFilters     = 4
)

// A transform undoes a filter in the beginning of b, which is at offset pos of the block. It returns the number of bytes
// that are complete. The next call gets the others again, with more behind them.
type transform func(pos uint32, b []byte) int

// A filter is a parsed filter of a block.
type filter struct {
	id     uint64
	offset uint32 // of the first byte, for addresses
	delta  int    // the distance
}

// alignments has, for each filter, the number that must divide its start offset.
var alignments = map[uint64]uint32{
	filterX86: 1, filterPowerPC: 4, filterIA64: 16, filterARM: 4, filterARMThumb: 2, filterSPARC: 4, filterARM64: 4,
}

// parseFilter checks the properties of a filter that is not LZMA2.
func parseFilter(id uint64, properties []byte) (filter, error) {
	f := filter{id: id}
	if id == filterDelta {
		if len(properties) != 1 {
			return f, errData
		}
		f.delta = int(properties[0]) + 1
		return f, nil
	}
	alignment, ok := alignments[id]
	if !ok {
		return f, fmt.Errorf("xz: the filter %#x is not supported", id)
	}
	switch len(properties) {
	case 0:
	case 4:
		f.offset = binary.LittleEndian.Uint32(properties)
	default:
		return f, errData
	}
	if f.offset%alignment != 0 {
		return f, errData
	}
	return f, nil
}

// transform returns a function that undoes the filter, for one block.
func (f filter) transform() transform {
	switch f.id {
	case filterDelta:
		return undelta(f.delta)
	case filterX86:
		return new(x86State).undo
	case filterPowerPC:
		return unPowerPC
	case filterIA64:
		return unIA64
	case filterARM:
		return unARM
	case filterARMThumb:
		return unARMThumb
	case filterSPARC:
		return unSPARC
	}
	return unARM64
}

// A filterReader undoes a filter.
type filterReader struct {
	src    io.Reader
	undo   transform
	pos    uint32
	buf    []byte
	read   int // bytes at the beginning of buf that have been returned
	ready  int // bytes that the filter has completed
	filled int
	err    error // of src
}

func newFilterReader(src io.Reader, f filter) *filterReader {
	return &filterReader{src: src, undo: f.transform(), pos: f.offset, buf: make([]byte, 32<<10)}
}

// Read implements io.Reader.
func (r *filterReader) Read(p []byte) (int, error) {
	for r.read == r.ready {
		if r.err != nil {
			return 0, r.err
		}
		r.filled = copy(r.buf, r.buf[r.ready:r.filled])
		r.read, r.ready = 0, 0
		var n int
		n, r.err = r.src.Read(r.buf[r.filled:])
		r.filled += n
		r.ready = r.undo(r.pos, r.buf[:r.filled])
		r.pos += uint32(r.ready)
		if r.err == io.EOF { // an instruction that is cut off stays as it is
			r.ready = r.filled
		}
	}
	n := copy(p, r.buf[r.read:r.ready])
	r.read += n
	return n, nil
}

// undelta adds the byte at a distance to each byte.
func undelta(distance int) transform {
	var last [256]byte
	var at uint8
	return func(_ uint32, b []byte) int {
		for i := range b {
			b[i] += last[at-uint8(distance)]
			last[at] = b[i]
			at++
		}
		return len(b)
	}
}

func unPowerPC(pos uint32, b []byte) int {
	const mask, call, address = 0xfc000003, 0x48000001, 0x03fffffc
	i := 0
	for ; i+4 <= len(b); i += 4 {
		if v := binary.BigEndian.Uint32(b[i:]); v&mask == call {
			v = (v&address - pos - uint32(i)) & address
			binary.BigEndian.PutUint32(b[i:], v|call)
		}
	}
	return i
}

func unARM(pos uint32, b []byte) int {
	const call = 0xeb
	i := 0
	for ; i+4 <= len(b); i += 4 {
		if b[i+3] == call {
			v := binary.LittleEndian.Uint32(b[i:]) << 2
			v = (v - pos - uint32(i) - 8) >> 2
			binary.LittleEndian.PutUint32(b[i:], v&0xffffff|call<<24)
		}
	}
	return i
}

func unARMThumb(pos uint32, b []byte) int {
	i := 0
	for ; i+4 <= len(b); i += 2 {
		high, low := binary.LittleEndian.Uint16(b[i:]), binary.LittleEndian.Uint16(b[i+2:])
		if high>>11 != 0x1e || low>>11 != 0x1f {
			continue
		}
		v := (uint32(high)&0x7ff<<11 | uint32(low)&0x7ff) << 1
		v = (v - pos - uint32(i) - 4) >> 1
		binary.LittleEndian.PutUint16(b[i:], uint16(0xf000|v>>11&0x7ff))
		binary.LittleEndian.PutUint16(b[i+2:], uint16(0xf800|v&0x7ff))
		i += 2
	}
	return i
}

func unSPARC(pos uint32, b []byte) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		if v>>22 != 0x100 && v>>22 != 0x1ff {
			continue
		}
		v = (v<<2 - pos - uint32(i)) >> 2
		v = (0x40000000 - v&0x400000) | 0x40000000 | v&0x3fffff
		binary.BigEndian.PutUint32(b[i:], v)
	}
	return i
}

func unARM64(pos uint32, b []byte) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v, at := binary.LittleEndian.Uint32(b[i:]), pos+uint32(i)
		switch {
		case v>>26 == 0x25: // BL
			v = 0x94000000 | (v-at>>2)&0x03ffffff
		case v&0x9f000000 == 0x90000000: // ADRP
			page := v>>29&3 | v>>3&0x1ffffc
			if (page+0x20000)&0x1c0000 != 0 {
				continue
			}
			page -= at >> 12
			v = v&0x9000001f | page&3<<29 | page&0x3fffc<<3 | -(page&0x20000)&0xe00000
		default:
			continue
		}
		binary.LittleEndian.PutUint32(b[i:], v)
	}
	return i
}

// unIA64 changes the branches in bundles of 3 instructions of 41 bits.
func unIA64(pos uint32, b []byte) int {
	const slotsOfTemplate = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x04\x06\x06\x00\x00\x07\x07\x04\x04\x00\x00\x04\x04\x00\x00"
	i := 0
	for ; i+16 <= len(b); i += 16 {
		slots := slotsOfTemplate[b[i]&0x1f]
		for slot := range 3 {
			if slots>>slot&1 == 0 {
				continue
			}
			bit := 5 + 41*slot
			at, shift := b[i+bit/8:], bit%8
			word := uint64(binary.LittleEndian.Uint32(at)) | uint64(binary.LittleEndian.Uint16(at[4:]))<<32
			v := word >> shift
			if v>>37&0xf != 5 || v>>9&7 != 0 {
				continue
			}
			address := uint32(v>>13&0xfffff|v>>36&1<<20) << 4
			address = (address - pos - uint32(i)) >> 4
			v &^= 0x8fffff << 13
			v |= uint64(address&0xfffff)<<13 | uint64(address&0x100000)<<(36-20)
			word = word&(1<<shift-1) | v<<shift
			binary.LittleEndian.PutUint32(at, uint32(word))
			binary.LittleEndian.PutUint16(at[4:], uint16(word>>32))
		}
	}
	return i
}
