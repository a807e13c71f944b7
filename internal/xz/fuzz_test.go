package xz_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	other "github.com/ulikunitz/xz"

	"pix/internal/xz"
)

// maxFuzzed is the number of bytes that are decoded from fuzzed input, and the largest window.
const maxFuzzed = 1 << 20

func otherOf(c other.WriterConfig, text string) []byte {
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

// decodeFuzzed decodes a stream in both ways, which must have the same result.
func decodeFuzzed(t *testing.T, b []byte) ([]byte, error) {
	var results [2]string
	var errs [2]error
	for i, goroutines := range []int{1, 3} {
		r, err := xz.NewReader(bytes.NewReader(b), xz.Options{MaxWindow: maxFuzzed, Size: maxFuzzed, Goroutines: goroutines})
		if err == nil {
			var got []byte
			got, err = io.ReadAll(io.LimitReader(r, maxFuzzed))
			results[i] = string(got)
		}
		errs[i] = err
	}
	if (errs[0] == nil) != (errs[1] == nil) || errs[0] == nil && results[0] != results[1] {
		t.Fatalf("%d bytes, %v; with several goroutines %d, %v", len(results[0]), errs[0], len(results[1]), errs[1])
	}
	return []byte(results[0]), errs[0]
}

func decodeOther(b []byte) ([]byte, error) {
	r, err := other.ReaderConfig{DictCap: maxFuzzed}.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxFuzzed))
}

// hasLargeWindow reports whether the other decoder would take much memory.
func hasLargeWindow(b []byte) bool {
	for i := 0; i+3 <= len(b); i++ {
		if b[i] == 0x21 && b[i+1] == 1 && b[i+2] > 16 && b[i+2] <= 40 {
			return true
		}
	}
	return false
}

// What the library that encodes can decode has the same contents here.
func FuzzReader(f *testing.F) {
	for _, c := range []other.WriterConfig{
		{DictCap: 4096}, {CheckSum: other.CRC32, BlockSize: 100, DictCap: 4096}, {CheckSum: other.SHA256, DictCap: 4096}, {NoCheckSum: true, DictCap: 1 << 16},
	} {
		f.Add(otherOf(c, strings.Repeat("lorem ipsum ", 20)))
		f.Add(append(otherOf(c, "one"), append(make([]byte, 4), otherOf(c, "two")...)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFuzzed(t, b)
		if hasLargeWindow(b) {
			return
		}
		if want, bad := decodeOther(b); err == nil && bad == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes; the other decoder has %d different ones", len(got), len(want))
		}
	})
}

// Within a block there is no checksum, so a fuzzer reaches more code there.
func FuzzChunks(f *testing.F) {
	whole := otherOf(other.WriterConfig{NoCheckSum: true}, strings.Repeat("lorem ipsum ", 20))
	f.Add(string(whole[24:]), byte(8))
	f.Add("\x01\x00\x03abcd\x02\x00\x01ef\x00", byte(0))
	f.Fuzz(func(t *testing.T, chunks string, window byte) {
		b := block("", 0, window%17, chunks)
		got, err := decodeFuzzed(t, b)
		want, bad := decodeOther(b)
		n := min(len(got), len(want))
		if !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%d bytes, %v; the other decoder has %d different ones, %v", len(got), err, len(want), bad)
		}
	})
}
