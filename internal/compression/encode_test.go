package compression_test

import (
	"io"
	"strings"
	"testing"

	"pix/internal/compression"
	"pix/internal/testenv"
)

// encodeBytes returns the number of bytes that are allocated to encode contents.
func encodeBytes(t *testing.T, method, contents string, size uint64) uint64 {
	t.Helper()
	return allocated(func() {
		w, err := compression.Encode(method, io.Discard, 0, size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A small archive needs no dictionary of the default size.
func TestSmallXzDictionary(t *testing.T) {
	small, unknown := encodeBytes(t, "xz", text[:1000], 1000), encodeBytes(t, "xz", text[:1000], 0)
	if small > 256<<10 || unknown < 16<<20 {
		t.Errorf("%d bytes are allocated for a size of 1000, %d for an unknown size", small, unknown)
	}
	if huge := encodeBytes(t, "xz", text[:1000], 1<<62); huge > 64<<20 {
		t.Errorf("%d bytes are allocated for a huge size", huge)
	}
	if long := encodeBytes(t, "xz", noise(256<<10), 1); long > 4<<20 { // with a small dictionary for each 4 KiB: 10 MB
		t.Errorf("%d bytes are allocated for contents that are longer than their size", long)
	}
}

// Contents that are longer than the size are encoded correctly.
func TestEncodeWrongSize(t *testing.T) {
	contents := noise(256 << 10)
	for _, method := range methods {
		for _, size := range []uint64{1, 5000, 68<<10 - 1, uint64(len(contents)), 1 << 40} {
			var b strings.Builder
			w, err := compression.Encode(method, &b, 0, size)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, contents)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := decode(method, strings.NewReader(b.String()), len(contents)); err != nil || got != contents {
				t.Errorf("%s, size %d: %d bytes, %v", method, size, len(got), err)
			}
		}
	}
}

// The zstd stream of equal contents does not depend on the size that the caller expects, which decides how much memory
// the encoder takes. So a copy of a cache with other information has the same files.
func TestZstdSameStream(t *testing.T) {
	contents := noise(5<<20) + strings.Repeat(text, 20)
	var streams [2]strings.Builder
	for i, size := range []uint64{0, 1000} {
		w, err := compression.Encode("zstd", &streams[i], 0, size)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, contents)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if streams[0].String() != streams[1].String() {
		t.Errorf("the streams have %d and %d bytes, or other contents", streams[0].Len(), streams[1].Len())
	}
}

// Encoders are reused. A pool may drop some of them, so the average counts.
func TestReusedEncoders(t *testing.T) {
	if testenv.RaceEnabled {
		t.Skip("the race detector makes pools drop their objects at random")
	}
	const rounds, most = 50, 200 << 10
	for _, method := range []string{"zstd", "gzip", "br"} {
		var sum uint64
		for range rounds {
			sum += encodeBytes(t, method, text[:1000], 1000)
		}
		if average := sum / rounds; average > most {
			t.Errorf("%s: an encoder takes %d bytes on average, want at most %d", method, average, most)
		}
	}
}
