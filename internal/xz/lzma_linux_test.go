package xz

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"unsafe"

	encoder "github.com/ulikunitz/xz/lzma"
)

// guarded returns n bytes. An access to the byte after them crashes the program, and so does an access to the byte before if
// n is a multiple of the page size.
func guarded(t testing.TB, n int) []byte {
	page := os.Getpagesize()
	body := (n + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, page+body+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	for _, guard := range [][]byte{b[:page], b[page+body:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return b[page+body-n : page+body : page+body]
}

// A runInput is an input of run.
type runInput struct {
	chunk      []byte
	properties byte   // of the contexts
	seed       uint64 // of the probabilities, or 0 for those after a reset
	filled     uint16 // bytes of the window
	wrapped    bool   // the ring was filled before
	step       uint16 // bytes that one call decodes
}

const (
	runPages = 3
	runRing  = runPages*4096 - overhang
)

// A runner has the state of a decoder.
type runner struct {
	before, after [64]byte // around the model, to find writes outside
	lzma          lzma
	window        window
}

func newRunner(in *[chunkSpace]byte, buf []byte, c runInput) (*runner, bool) {
	r := &runner{window: window{buf: buf[:0]}}
	if !r.lzma.setProperties(c.properties) {
		return nil, false
	}
	r.window.init(runRing - apart)
	random := rand.New(rand.NewPCG(c.seed, 1))
	for i := 0; i < len(r.window.buf); i += 8 {
		binary.LittleEndian.PutUint64(r.window.buf[i:], random.Uint64())
	}
	r.window.pos = uint(c.filled) % runRing
	if c.wrapped {
		r.window.full = runRing
	}
	r.lzma.reset()
	if c.seed != 0 {
		r.lzma.model.randomize(random)
	}
	return r, r.lzma.start(in)
}

// randomize sets all probabilities to values that adaptation can reach. Distances are likely to be short, so that the window has
// them.
func (m *model) randomize(random *rand.Rand) {
	const least, most = 31, probOne - 31
	probs := unsafe.Slice((*prob)(unsafe.Pointer(m)), unsafe.Sizeof(*m)/unsafe.Sizeof(prob(0)))
	bias := least + prob(random.IntN(most-least))
	for i := range probs {
		v := random.Uint32()
		if probs[i] = least + prob(v>>1%(most-least)); v&1 == 0 {
			probs[i] = bias
		}
	}
	for i := range m.slot {
		fillWith(m.slot[i][1:3], most) // distances below 256
		fillWith(m.slot[i][4:5], 1024)
	}
}

func fillWith(probs []prob, v prob) {
	for i := range probs {
		probs[i] = v
	}
}

// contents returns the bytes that matches can reach.
func (r *runner) contents() (recent, old []byte) {
	w := &r.window
	if w.full > 0 && w.pos+apart < w.ring {
		old = w.buf[w.pos+apart : w.ring]
	}
	return w.buf[:w.pos], old
}

// checkRun compares run with runGeneric. It returns the number of bytes that were decoded.
func checkRun(t *testing.T, memory [3][]byte, c runInput) (decoded uint) {
	in := (*[chunkSpace]byte)(memory[0])
	size := min(len(c.chunk), maxChunk)
	clear(in[copy(in[:], c.chunk[:size]):])
	one, ok := newRunner(in, memory[1], c)
	if !ok {
		return 0
	}
	other, _ := newRunner(in, memory[2], c)
	for range 100 {
		limit := min(one.window.pos+uint(c.step)+1, one.window.ring)
		from := one.window.pos
		got, want := one.lzma.run(&one.window, limit, uint(size)), other.lzma.runGeneric(&other.window, limit, uint(size))
		if got != want {
			t.Fatalf("%v, in Go %v", got, want)
		}
		if !got {
			return decoded
		}
		if one.lzma != other.lzma || one.window.pos != other.window.pos {
			t.Fatalf("at %d: the states differ; in Go at %d", one.window.pos, other.window.pos)
		}
		recent, old := one.contents()
		recentGo, oldGo := other.contents()
		if !bytes.Equal(recent, recentGo) || !bytes.Equal(old, oldGo) {
			t.Fatalf("at %d: the contents differ", one.window.pos)
		}
		if one.before != [64]byte{} || one.after != [64]byte{} {
			t.Fatal("bytes beside the model have changed")
		}
		decoded += one.window.pos - from
		if one.lzma.rc.pos > uint(size) {
			return decoded
		}
		one.window.wrap()
		other.window.wrap()
	}
	return decoded
}

func runMemory(t testing.TB) [3][]byte {
	return [3][]byte{guarded(t, chunkSpace), guarded(t, runPages*4096), guarded(t, runPages*4096)}
}

// validChunk returns a chunk of LZMA, for the properties lc=3, lp=0, pb=2.
func validChunk(t testing.TB) []byte {
	var b, text bytes.Buffer
	w, err := encoder.Writer2Config{DictCap: 4096}.NewWriter2(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		text.WriteString("lorem ipsum dolor sit amet "[i*i%13 : 13+i*7%14])
		text.WriteByte(byte(i * i >> 7))
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[6:] // after the header
}

const defaultProperties = 3 + 9*5*2

// run has the results and the state of runGeneric, with the probabilities of a real chunk and with random ones.
func TestRun(t *testing.T) {
	memory := runMemory(t)
	if n := checkRun(t, memory, runInput{chunk: validChunk(t), properties: defaultProperties, step: 1000}); n < 30_000 {
		t.Errorf("%d bytes of a real chunk are decoded", n)
	}
	random := rand.New(rand.NewPCG(3, 4))
	var decoded uint
	for seed := range uint64(600) {
		chunk := make([]byte, 5+random.IntN(1000))
		for i := 1; i < len(chunk); i++ {
			chunk[i] = byte(random.Uint32())
		}
		decoded += checkRun(t, memory, runInput{
			chunk, byte(random.IntN(225)), seed, uint16(random.Uint32()), random.IntN(2) == 0, uint16(random.IntN(5000)),
		})
	}
	if decoded < 400_000 {
		t.Errorf("only %d bytes are decoded with random probabilities", decoded)
	}
}

func FuzzRun(f *testing.F) {
	memory := runMemory(f)
	f.Add(validChunk(f), byte(defaultProperties), uint64(0), uint16(0), false, uint16(1000))
	f.Add([]byte("\x00lorem ipsum dolor sit amet"), byte(defaultProperties), uint64(1), uint16(5000), true, uint16(1))
	f.Fuzz(func(t *testing.T, chunk []byte, properties byte, seed uint64, filled uint16, wrapped bool, step uint16) {
		checkRun(t, memory, runInput{chunk, properties, seed, filled, wrapped, step})
	})
}
