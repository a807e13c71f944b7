package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pix/wire"
)

func Example() {
	b := wire.AppendUint64(nil, 293)
	b = wire.AppendString(b, "nix-archive-1")
	b = wire.AppendStrings(b, []string{"a", "b"})

	r := wire.NewReader(bytes.NewReader(b), 0)
	n, _ := r.Uint64()
	s, _ := r.String(64)
	count, _ := r.Limited("the number of names", 100)
	fmt.Println(n, s, count)
	// Output: 293 nix-archive-1 2
}

// The decoded values do not depend on how the stream is split into reads.
func TestRoundTrip(t *testing.T) {
	var b []byte
	lengths := []int{0, 1, 7, 8, 9, 500, 504, 511, 512, 513, 4096, 200_000}
	for _, n := range lengths {
		b = wire.AppendUint64(b, uint64(n))
		b = wire.AppendString(b, strings.Repeat("x", n))
		b = wire.AppendBool(b, n%2 == 1)
	}
	if len(b)%wire.WordSize != 0 {
		t.Fatalf("%d bytes are not a multiple of %d", len(b), wire.WordSize)
	}
	for name, src := range map[string]io.Reader{
		"at once":      bytes.NewReader(b),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(b)),
		"in halves":    iotest.HalfReader(bytes.NewReader(b)),
		"with EOF":     iotest.DataErrReader(bytes.NewReader(b)),
	} {
		r := wire.NewReader(src, 512)
		for _, want := range lengths {
			n, err1 := r.Uint64()
			s, err2 := r.String(1 << 20)
			odd, err3 := r.Bool()
			if err := errors.Join(err1, err2, err3); err != nil || n != uint64(want) || len(s) != want || odd != (want%2 == 1) {
				t.Fatalf("%s: %d, %d bytes, %v, %v, want %d", name, n, len(s), odd, err, want)
			}
		}
		if _, err := r.Uint64(); err != io.EOF {
			t.Errorf("%s: at the end: %v, want io.EOF", name, err)
		}
		if r.Offset() != int64(len(b)) {
			t.Errorf("%s: offset %d at the end of %d bytes", name, r.Offset(), len(b))
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, s := range []string{"", "hello", strings.Repeat("x", 1000)} {
		encoded := wire.AppendString(nil, s)
		for n := range encoded {
			r := wire.NewReader(bytes.NewReader(encoded[:n]), 512)
			_, err := r.Bytes(1 << 20)
			if n == 0 {
				if err != io.EOF {
					t.Errorf("an empty stream: %v, want io.EOF", err)
				}
				continue
			}
			var e *wire.Error
			if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) || e.Offset != int64(n) {
				t.Errorf("%d bytes of %d: %v, want an unexpected EOF at %d", n, len(encoded), err, n)
			}
		}
	}
}

func TestBytesRejectsInvalid(t *testing.T) {
	badPadding := wire.AppendString(nil, "hello")
	badPadding[14] = 1
	longBadPadding := wire.AppendString(nil, strings.Repeat("x", 1001))
	longBadPadding[8+1001] = 1
	for _, c := range []struct {
		what   string
		bytes  []byte
		offset int64
	}{
		{"padding", badPadding, 14},
		{"padding of a long string", longBadPadding, 8 + 1001},
		{"a length above the limit", wire.AppendUint64(nil, 2001), 0},
		{"a negative length", wire.AppendUint64(nil, 1<<63), 0},
	} {
		_, err := wire.NewReader(bytes.NewReader(c.bytes), 512).Bytes(2000)
		var e *wire.Error
		if !errors.As(err, &e) || e.Offset != c.offset || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want an error at offset %d", c.what, err, c.offset)
		}
	}
}

// An announced length is not allocated before the bytes arrive.
func TestLengthIsNotAllocated(t *testing.T) {
	b := append(wire.AppendUint64(nil, 1<<30), "short"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := wire.NewReader(bytes.NewReader(b), 512).Bytes(1 << 30)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want an unexpected EOF", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated for 5 that arrived", got)
	}
}

func TestUnderlyingError(t *testing.T) {
	boom := errors.New("boom")
	src := io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom))
	r := wire.NewReader(src, 512)
	if _, err := r.Uint64(); !errors.Is(err, boom) {
		t.Errorf("%v, want %v", err, boom)
	}
}

func TestDiscard(t *testing.T) {
	b := append(make([]byte, 5000), wire.AppendUint64(nil, 7)...)
	r := wire.NewReader(bytes.NewReader(b), 512)
	if err := r.Discard(5000); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Uint64(); n != 7 || err != nil {
		t.Errorf("%d, %v after the discarded bytes, want 7", n, err)
	}
	if err := r.Discard(1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("discarding beyond the end: %v", err)
	}
}

// A skippingReader counts the bytes that were skipped.
type skippingReader struct {
	*bytes.Reader
	skipped uint64
}

func (s *skippingReader) Skip(n uint64) error {
	if n > uint64(s.Len()) {
		return io.ErrUnexpectedEOF
	}
	s.skipped += n
	_, err := s.Seek(int64(n), io.SeekCurrent)
	return err
}

func TestDiscardSkips(t *testing.T) {
	src := &skippingReader{Reader: bytes.NewReader(append(make([]byte, 5000), wire.AppendUint64(nil, 7)...))}
	r := wire.NewReader(src, 512)
	if _, err := r.Uint64(); err != nil {
		t.Fatal(err)
	}
	if err := r.Discard(4992); err != nil || src.skipped != 5000-512 || r.Offset() != 5000 {
		t.Errorf("%v, %d bytes skipped, offset %d; want 4488 and 5000", err, src.skipped, r.Offset())
	}
	if n, err := r.Uint64(); n != 7 || err != nil {
		t.Errorf("%d, %v after the discarded bytes, want 7", n, err)
	}
	if err := r.Discard(1 << 63); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("discarding beyond the end: %v", err)
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := wire.NewFrameWriter(&b)
	var want []byte
	for _, n := range []int{1, 0, 8, 1000, 70_000} {
		chunk := bytes.Repeat([]byte{byte(n)}, n)
		want = append(want, chunk...)
		if got, err := w.Write(chunk); got != n || err != nil {
			t.Fatal(got, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	framed := bytes.Clone(b.Bytes())
	b.Write(wire.AppendUint64(nil, 7))

	r := wire.NewReader(iotest.HalfReader(&b), 512)
	f := wire.NewFrameReader(r)
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
	}
	if _, err := f.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
	if n, err := r.Uint64(); n != 7 || err != nil {
		t.Errorf("after the last frame: %d, %v, want 7", n, err)
	}

	for _, n := range []int{0, 7, 8, 9, 17, len(framed) - 1} {
		f := wire.NewFrameReader(wire.NewReader(bytes.NewReader(framed[:n]), 512))
		if err := f.Drain(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of the frames: %v, want an unexpected EOF", n, err)
		}
	}
	f = wire.NewFrameReader(wire.NewReader(bytes.NewReader(wire.AppendUint64(nil, 1<<32)), 512))
	var e *wire.Error
	if err := f.Drain(); !errors.As(err, &e) || e.Offset != 0 {
		t.Errorf("a frame of 2^32 bytes: %v", err)
	}
}

// Decoding the same bytes through buffers of different sizes returns the same values
// and the same errors.
func FuzzReader(f *testing.F) {
	f.Add(wire.AppendString(wire.AppendString(nil, "hello"), strings.Repeat("x", 600)))
	f.Add(wire.AppendUint64(nil, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		small := wire.NewReader(iotest.OneByteReader(bytes.NewReader(b)), 0)
		large := wire.NewReader(bytes.NewReader(b), 1<<20)
		for {
			s1, err1 := small.String(1 << 16)
			s2, err2 := large.String(1 << 16)
			if s1 != s2 || fmt.Sprint(err1) != fmt.Sprint(err2) {
				t.Fatalf("%q, %v and %q, %v", s1, err1, s2, err2)
			}
			if err1 != nil {
				return
			}
			if got := wire.AppendString(nil, s1); !bytes.Equal(got, b[:len(got)]) {
				t.Fatalf("%q encodes to %x, not to its input", s1, got)
			}
			b = b[len(wire.AppendString(nil, s1)):]
		}
	})
}

func BenchmarkReaderBytes(b *testing.B) {
	var stream []byte
	for range 1000 {
		stream = wire.AppendString(stream, "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello")
	}
	b.SetBytes(int64(len(stream)))
	src := bytes.NewReader(stream)
	r := wire.NewReader(src, 64<<10)
	for b.Loop() {
		src.Reset(stream)
		r.Reset(src)
		for range 1000 {
			if _, err := r.Bytes(4096); err != nil {
				b.Fatal(err)
			}
		}
	}
}
