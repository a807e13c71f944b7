package compression

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// An empty file is an error: it ends too early.
func TestEmptyXz(t *testing.T) {
	if _, err := Decode("xz", strings.NewReader(""), 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// maxFuzzed is the number of bytes that are decoded from fuzzed input.
const maxFuzzed = 1 << 20

// byBoth decodes a stream with the library for decoding, and with the one for encoding.
func byBoth(b []byte) (got, want []byte, gotErr, wantErr error) {
	read := func(r io.Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, maxFuzzed))
	}
	got, gotErr = read(openXz(bytes.NewReader(b), maxFuzzed))
	want, wantErr = read(xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(newXzGuard(bytes.NewReader(b), maxFuzzed)))
	return got, want, gotErr, wantErr
}

// Two independent libraries decode a stream in the same way.
func FuzzXz(f *testing.F) {
	for _, c := range []xz.WriterConfig{
		{}, {CheckSum: xz.CRC32, BlockSize: 100}, {CheckSum: xz.SHA256}, {NoCheckSum: true, DictCap: 1 << 16},
	} {
		f.Add(xzOf(c, strings.Repeat("lorem ipsum ", 20)))
		f.Add(append(xzOf(c, "one"), append(make([]byte, 4), xzOf(c, "two")...)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, want, gotErr, wantErr := byBoth(b)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v; the other decoder has %d, %v", len(got), gotErr, len(want), wantErr)
		}
	})
}

// Within a block there is no checksum, so a fuzzer reaches more code there.
func FuzzXzBlock(f *testing.F) {
	whole := xzOf(xz.WriterConfig{NoCheckSum: true}, strings.Repeat("lorem ipsum ", 20))
	f.Add(whole[24:], byte(8))
	f.Add([]byte("\x01\x00\x03abcd\x02\x00\x01ef\x00"), byte(0))
	f.Fuzz(func(t *testing.T, chunks []byte, window byte) {
		got, want, gotErr, wantErr := byBoth(xzBlock(chunks, window))
		n := min(len(got), len(want))
		if !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%d bytes, %v; the other decoder has %d different ones, %v", len(got), gotErr, len(want), wantErr)
		}
	})
}

func xzOf(c xz.WriterConfig, text string) []byte {
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

// xzBlock returns the beginning of a stream: a block with these chunks and this window, without
// checksums.
func xzBlock(chunks []byte, window byte) []byte {
	b := []byte("\xfd7zXZ\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:8]))
	header := []byte{2, 0, 0x21, 1, window % 41, 0, 0, 0}
	b = append(b, header...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
	return append(b, chunks...)
}
