package compression_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"pix/internal/compression"
)

const begins = "BEGIN"

func ExampleNewReader() {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	io.WriteString(w, "BEGIN and so on")
	w.Close()
	b, err := io.ReadAll(compression.NewReader(&compressed, "BEGIN"))
	fmt.Println(string(b), err)
	// Output: BEGIN and so on <nil>
}

// text is larger than all buffers.
var text = begins + strings.Repeat("lorem ipsum, dolor sit amet\n", 20_000)

// writers returns a compressor for each method.
var writers = map[string]func(io.Writer) io.WriteCloser{
	"zstd":   func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	"gzip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"brotli": func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"xz":     func(w io.Writer) io.WriteCloser { z, _ := xz.NewWriter(w); return z },
	"xz of many blocks, without a check": func(w io.Writer) io.WriteCloser {
		z, _ := xz.WriterConfig{BlockSize: 10_000, NoCheckSum: true}.NewWriter(w)
		return z
	},
	"xz with SHA-256": func(w io.Writer) io.WriteCloser {
		z, _ := xz.WriterConfig{CheckSum: xz.SHA256, BlockSize: 9999}.NewWriter(w)
		return z
	},
}

func compressed(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := writers[name](&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReader(t *testing.T) {
	for name := range writers {
		t.Run(name, func(t *testing.T) {
			b := compressed(t, name, text)
			r := compression.NewReader(bytes.NewReader(b), begins)
			got, err := io.ReadAll(r)
			if err != nil || string(got) != text || r.IsPlain() {
				t.Fatalf("%d bytes, %v, plain: %v", len(got), err, r.IsPlain())
			}
			// One byte per Read, and the last byte together with io.EOF.
			got, err = io.ReadAll(compression.NewReader(iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(b))), begins))
			if err != nil || string(got) != text {
				t.Fatalf("byte by byte: %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	for _, s := range []string{"", "BEG", begins, text} {
		r := compression.NewReader(strings.NewReader(s), begins)
		got, err := io.ReadAll(r)
		if err != nil || string(got) != s || !r.IsPlain() {
			t.Errorf("%.10q: %d bytes, %v, plain: %v", s, len(got), err, r.IsPlain())
		}
	}
}

func TestBzip2(t *testing.T) {
	// printf BEGIN | bzip2
	b, err := hex.DecodeString("425a68393141592653593f8b962a000000040012a120002183419a025c71772453850903f8b962a0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(compression.NewReader(bytes.NewReader(b), begins))
	if err != nil || string(got) != begins {
		t.Fatalf("%q, %v", got, err)
	}
}

// A stream that is cut off anywhere is an error.
func TestTruncated(t *testing.T) {
	short := begins + strings.Repeat("abcdefgh", 40)
	for name := range writers {
		b := compressed(t, name, short)
		for n := 1; n < len(b); n++ {
			_, err := io.ReadAll(compression.NewReader(bytes.NewReader(b[:n]), begins))
			if err == nil {
				t.Errorf("%s: %d of %d bytes are accepted as a complete stream", name, n, len(b))
			}
		}
	}
}

// Concatenated streams are decoded as one, for xz also with zeros in between.
func TestSeveralStreams(t *testing.T) {
	for _, name := range []string{"zstd", "gzip", "xz", "xz of many blocks, without a check"} {
		first, second := compressed(t, name, text), compressed(t, name, "the end")
		var padding []byte
		if strings.HasPrefix(name, "xz") {
			padding = make([]byte, 8)
		}
		got, err := io.ReadAll(compression.NewReader(io.MultiReader(bytes.NewReader(first), bytes.NewReader(padding), bytes.NewReader(second)), begins))
		if err != nil || string(got) != text+"the end" {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, s := range []string{"something else", "\x00\x00\x00\x00\x00\x00\x00", string(compressed(t, "brotli", "other text"))} {
		_, err := io.ReadAll(compression.NewReader(strings.NewReader(s), begins))
		if !errors.Is(err, compression.ErrUnknown) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A stream that asks for a window of gigabytes is refused.
func TestWindow(t *testing.T) {
	b := compressed(t, "xz", text)
	const windowAt = 12 + 4 // the header of the stream; size, flags and filter of the block
	if b[windowAt] > 40 || b[windowAt-2] != 0x21 {
		t.Fatalf("the size of the window has another offset: % x", b[:20])
	}
	b[windowAt] = 40
	sum := 12 + int(b[12])*4
	binary.LittleEndian.PutUint32(b[sum:], crc32.ChecksumIEEE(b[12:sum]))
	_, err := io.ReadAll(compression.NewReader(bytes.NewReader(b), begins))
	if err == nil || !strings.Contains(err.Error(), "4095 MiB") && !strings.Contains(err.Error(), "4096 MiB") {
		t.Errorf("xz: %v", err)
	}
	// A frame with a window of 2^40 bytes.
	_, err = io.ReadAll(compression.NewReader(strings.NewReader("\x28\xb5\x2f\xfd\x00\xf0\x01\x00\x00xxxxxx"), begins))
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("zstd: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	for name := range writers {
		w := new(bytes.Buffer)
		z := writers[name](w)
		io.WriteString(z, begins+" and so on")
		z.Close()
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		io.Copy(io.Discard, io.LimitReader(compression.NewReader(bytes.NewReader(b), begins), most))
	})
}

func TestByExtension(t *testing.T) {
	for ext, name := range map[string]string{".zst": "zstd", ".xz": "xz", ".gz": "gzip"} {
		r, err := compression.ByExtension(ext, bytes.NewReader(compressed(t, name, text)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", ext, len(got), err)
		}
	}
	if r, err := compression.ByExtension("", strings.NewReader("plain")); err != nil || r == nil {
		t.Errorf("plain: %v", err)
	}
	if _, err := compression.ByExtension(".rar", strings.NewReader("")); err != compression.ErrUnknown {
		t.Errorf("%v", err)
	}
}
