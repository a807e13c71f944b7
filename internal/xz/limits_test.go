package xz_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"

	"pix/internal/xz"
)

// block returns the beginning of a stream without checks: the header of a block with these bytes and this window, and chunks.
func block(sizes string, flags, window byte, chunks string) []byte {
	b := []byte("\xfd7zXZ\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:8]))
	header := append([]byte{0, flags}, sizes+"\x21\x01"+string(window)...)
	if window >= 0x80 {
		panic("window")
	}
	for len(header)%4 != 0 {
		header = append(header, 0)
	}
	header[0] = byte(len(header) / 4)
	b = append(b, header...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
	return append(b, chunks...)
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A claimed window or size takes no memory that the limits forbid.
func TestClaims(t *testing.T) {
	const huge = "\xff\xff\xff\xff\xff\xff\xff\xff\x7f" // 2^63 - 1
	stored := "\x01\x00\x03abcd"
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"window of 4 GiB", block("", 0, 40, stored), "4096 MiB"},
		{"window beyond the limits of the format", block("", 0, 41, stored), "not supported"},
		{"huge sizes", block(huge+huge, 0xc0, 0, stored), "unexpected EOF"},
		{"large contents", block("\x08\x80\x80\x80\x04", 0xc0, 0, stored), "unexpected EOF"},
	} {
		var err error
		took := allocated(func() { _, err = decode(c.b, xz.Options{MaxWindow: 1 << 20, Goroutines: 4}) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if took > 1<<20 {
			t.Errorf("%s: %d bytes are allocated", c.name, took)
		}
	}
	// With the size of the contents, no larger window is needed.
	b := encode(t, []byte("hello"), "--lzma2=dict=256MiB")
	if _, err := decode(b, xz.Options{}); err == nil || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("%v", err)
	}
	if got, err := decode(b, xz.Options{Size: 5}); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// Longer contents than the size are decoded if their matches are near.
func TestLongerContents(t *testing.T) {
	contents := bytes.Repeat([]byte("abcdefgh"), 10_000)
	b := encode(t, contents)
	if got, err := decode(b, xz.Options{Size: 100}); err != nil || !bytes.Equal(got, contents) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	far := append(sample(200_000), sample(200_000)...)
	if _, err := decode(encode(t, far), xz.Options{Size: 100_000}); err == nil {
		t.Error("a match beyond the window is accepted")
	}
}

// Blocks that are decoded ahead take a bounded number of bytes, and one block at a time if they are large.
func TestAheadMemory(t *testing.T) {
	const size = 64 << 20
	b := encode(t, make([]byte, size), "-0", "-T2", "--block-size=4MiB")
	most := allocated(func() {
		r, err := xz.NewReader(bytes.NewReader(b), xz.Options{Goroutines: 2})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	if most > 2*size {
		t.Errorf("%d bytes are allocated to decode %d", most, size)
	}
}

// A Reader that is dropped in the middle leaves no goroutine behind.
func TestDropped(t *testing.T) {
	b := encode(t, sample(400_000), "-T2", "--block-size=100000")
	before := runtime.NumGoroutine()
	for range 10 {
		r, err := xz.NewReader(bytes.NewReader(b), xz.Options{Goroutines: 4})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for runtime.NumGoroutine() > before { // they end when their block is decoded
		runtime.Gosched()
	}
}
