package compression_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"pix/internal/compression"
)

var methods = []string{"none", "xz", "zstd", "gzip", "br"}

func encode(t *testing.T, method, text string, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compression.Encode(method, &b, level, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(method string, src io.Reader, size int) (string, error) {
	r, err := compression.Decode(method, src, uint64(size))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

// noise is incompressible, except that it is repeated at a large distance.
func noise(n int) string {
	var b strings.Builder
	source := rand.NewChaCha8([32]byte{1})
	for range n / 16 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], source.Uint64())
		b.Write(word[:])
	}
	return b.String() + b.String()
}

func TestMethods(t *testing.T) {
	for _, method := range methods {
		for _, text := range []string{"", "x", text, noise(3 << 20)} {
			b := encode(t, method, text, 0)
			if again := encode(t, method, text, 0); !bytes.Equal(b, again) {
				t.Errorf("%s: %d bytes are compressed differently the second time", method, len(text))
			}
			for what, src := range map[string]io.Reader{
				"at once":      bytes.NewReader(b),
				"byte by byte": iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(b))),
			} {
				if what == "byte by byte" && len(text) > 1<<20 {
					continue
				}
				got, err := decode(method, src, len(text))
				if err != nil || got != text {
					t.Errorf("%s, %s: %d bytes of %d, %v", method, what, len(got), len(text), err)
				}
			}
			if method == "none" || len(text) == 0 {
				continue
			}
			for _, cut := range []int{1, len(b) / 2, len(b) - 1} {
				if got, err := decode(method, bytes.NewReader(b[:cut]), len(text)); err == nil {
					t.Errorf("%s: cut after %d of %d bytes, it decodes to %d without an error", method, cut, len(b), len(got))
				}
			}
		}
	}
	// Concatenated streams, as parallel compressors write them.
	for _, method := range []string{"xz", "zstd", "gzip"} {
		both := append(encode(t, method, text, 0), encode(t, method, text, 0)...)
		if got, err := decode(method, bytes.NewReader(both), 2*len(text)); err != nil || got != text+text {
			t.Errorf("%s, two streams: %d bytes, %v", method, len(got), err)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, method := range []string{"zstd", "gzip", "br"} {
		fast, small := encode(t, method, text, 1), encode(t, method, text, 9)
		if len(fast) <= len(small) {
			t.Errorf("%s: %d bytes at level 1, %d at level 9", method, len(fast), len(small))
		}
	}
}

func TestUnknownMethod(t *testing.T) {
	var bad *compression.MethodError
	if _, err := compression.Decode("lrzip", strings.NewReader(text), 1); !errors.As(err, &bad) || !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	for _, method := range []string{"bzip2", "lrzip"} {
		if _, err := compression.Encode(method, io.Discard, 0, 0); !errors.As(err, &bad) {
			t.Error(err)
		}
		if compression.CanEncode(method) {
			t.Error(method)
		}
	}
}

// A window that a stream asks for takes no memory if the contents are smaller.
func TestWindowOfContents(t *testing.T) {
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text[:1000])
	w.Flush() // otherwise the header has the size of the contents instead of a window
	io.WriteString(w, text[1000:])
	w.Close()
	var x bytes.Buffer
	xw, err := xz.WriterConfig{DictCap: 64 << 20}.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(xw, text)
	xw.Close()
	// A header with blocks of 4 MiB and its checksum, one stored block, and the end of the frame.
	l := []byte("\x04\x22\x4d\x18\x60\x70\x73")
	l = binary.LittleEndian.AppendUint32(l, 1<<31|uint32(len(text)))
	l = append(append(l, text...), 0, 0, 0, 0)
	for method, b := range map[string][]byte{"zstd": z.Bytes(), "xz": x.Bytes(), "lz4": l} {
		const limit = 5_600_000 // under the race detector, pools drop buffers
		took := allocated(func() {
			if got, err := decode(method, bytes.NewReader(b), len(text)); err != nil || got != text {
				t.Errorf("%s: %d bytes, %v", method, len(got), err)
			}
		})
		if took > limit {
			t.Errorf("%s: %d bytes were allocated for %d", method, took, len(text))
		}
		whole := allocated(func() { decode(method, bytes.NewReader(b), math.MaxInt) })
		if whole < 6<<20 {
			t.Errorf("%s: the test has no effect: only %d bytes are allocated without a size", method, whole)
		}
	}
	// A frame that is one segment of 100 MB.
	lie := append([]byte("\x28\xb5\x2f\xfd\xa0"), 0, 0, 0, 6, 1, 0, 0)
	if took := allocated(func() {
		if _, err := decode("zstd", bytes.NewReader(lie), 1000); err == nil {
			t.Error("a frame of 100 MB was accepted for 1000 bytes of contents")
		}
	}); took > 8<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecode(f *testing.F) {
	for i, method := range methods {
		var b bytes.Buffer
		w, _ := compression.Encode(method, &b, 0, 0)
		io.WriteString(w, text[:200])
		w.Close()
		f.Add(uint8(i), b.Bytes())
	}
	f.Fuzz(func(t *testing.T, method uint8, b []byte) {
		r, err := compression.Decode(methods[int(method)%len(methods)], bytes.NewReader(b), 1000)
		if err == nil {
			io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		}
	})
}
