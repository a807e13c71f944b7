package compression

import (
	"bytes"
	"io"
	"runtime"
	"testing"
)

// A heapSampler measures the largest live heap at the writes to it.
type heapSampler struct{ peak uint64 }

func (s *heapSampler) Write(p []byte) (int, error) {
	s.peak = max(s.peak, liveHeap())
	return len(p), nil
}

// liveHeap returns the size of the heap without garbage.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// emptyHeap is liveHeap without the pools, which two collections empty.
func emptyHeap() uint64 {
	liveHeap()
	return liveHeap()
}

// The live heap of a writer does not depend on the size of the contents: it has the contents of a frame for the writer and one for
// each slot, the compressed frames, and an encoder for each slot, whose history is two windows. With two slots, these are 73 MiB for
// contents that compress well.
func TestZstdWriterMemory(t *testing.T) {
	const tables = 3 << 20 // and the blocks of an encoder
	const compressed = 1 << 20
	slots := uint64(cap(frameSlots))
	most := (slots+1)*(zstdFrame+compressed) + slots*(2*zstdWindow+tables)
	frames := int(2*slots + 2)
	piece := bytes.Repeat([]byte("some text "), 100_000)
	size := uint64(frames * zstdFrame)
	before := emptyHeap()
	var out heapSampler
	w, err := Encode("zstd", &out, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	for left := size; left > 0; {
		n := min(left, uint64(len(piece)))
		if _, err := w.Write(piece[:n]); err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if took := out.peak - min(before, out.peak); took > most || took < zstdFrame {
		t.Errorf("the live heap has %d more bytes for contents of %d bytes, want at most %d", took, size, most)
	} else {
		t.Logf("the live heap has %d more bytes for contents of %d bytes, at most %d are permitted", took, size, most)
	}
}

// The live heap of a reader has the frames that are decoded ahead, with their contents, and the frame that is being read.
func TestZstdReaderMemory(t *testing.T) {
	slots := uint64(cap(frameSlots))
	const compressed, rest = 1 << 20, 4 << 20
	most := (slots+1)*(zstdFrame+compressed) + rest
	frames := int(2*slots + 2)
	var stream bytes.Buffer
	w, err := Encode("zstd", &stream, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	piece := bytes.Repeat([]byte("some text "), zstdFrame/10)
	for range frames {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := emptyHeap()
	size := uint64(frames * len(piece))
	r, err := Decode("zstd", &stream, size)
	if err != nil {
		t.Fatal(err)
	}
	var peak uint64
	for left := size; left > 0; {
		n, err := io.CopyN(io.Discard, r, int64(min(left, zstdFrame)))
		if err != nil {
			t.Fatal(err)
		}
		left -= uint64(n)
		peak = max(peak, liveHeap())
	}
	if took := peak - min(before, peak); took > most || took < zstdFrame {
		t.Errorf("the live heap has %d more bytes for contents of %d bytes, want at most %d", took, size, most)
	} else {
		t.Logf("the live heap has %d more bytes for contents of %d bytes, at most %d are permitted", took, size, most)
	}
}
