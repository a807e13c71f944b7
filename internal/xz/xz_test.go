package xz_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	other "github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"pix/internal/xz"
)

// limits are those of who knows nothing.
var limits = xz.Limits{Size: math.MaxUint64, Window: 128 << 20}

func decode(b []byte) (string, error) {
	out, err := io.ReadAll(xz.NewReader(bytes.NewReader(b), limits))
	return string(out), err
}

// encode encodes with the library that the other tests are about.
func encode(c other.WriterConfig, text string) []byte {
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// configs are the checks that there are, and what else changes how a stream looks.
var configs = map[string]other.WriterConfig{
	"CRC-64":       {},
	"CRC-32":       {CheckSum: other.CRC32, BlockSize: 1000},
	"SHA-256":      {CheckSum: other.SHA256},
	"none":         {NoCheckSum: true, BlockSize: 99_999},
	"properties":   {Properties: &lzma.Properties{LC: 0, LP: 4, PB: 0}},
	"others":       {Properties: &lzma.Properties{LC: 4, LP: 0, PB: 4}},
	"some of each": {Properties: &lzma.Properties{LC: 1, LP: 2, PB: 1}, DictCap: 1 << 16},
}

// texts are what is encoded: nothing, little, what repeats itself near and far, and what does not.
func texts() map[string]string {
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	var mixed strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for mixed.Len() < 100_000 {
		switch random.IntN(4) {
		case 0:
			mixed.Write(noise[:random.IntN(300)])
		case 1:
			fmt.Fprintf(&mixed, "number %d, ", random.IntN(1000))
		case 2:
			mixed.WriteString(strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(400)))
		case 3:
			at := random.IntN(mixed.Len() + 1)
			mixed.WriteString(mixed.String()[at:min(at+random.IntN(2000), mixed.Len())])
		}
	}
	return map[string]string{
		"nothing": "", "a byte": "x", "one byte often": strings.Repeat("x", 200_000),
		"noise": string(noise), "noise twice": string(noise) + string(noise), "mixed": mixed.String(),
	}
}

func TestDecode(t *testing.T) {
	for what, text := range texts() {
		for name, config := range configs {
			b := encode(config, text)
			got, err := decode(b)
			if err != nil || got != text {
				t.Errorf("%s, %s: %d bytes of %d, %v", what, name, len(got), len(text), err)
			}
			// Whoever knows how much comes out needs no more than that.
			exact := xz.NewReader(bytes.NewReader(b), xz.Limits{Size: uint64(len(text)), Window: 128 << 20})
			if out, err := io.ReadAll(exact); err != nil || string(out) != text {
				t.Errorf("%s, %s, of known size: %d bytes of %d, %v", what, name, len(out), len(text), err)
			}
		}
	}
}

// However a stream comes, and however it is read.
func TestPieces(t *testing.T) {
	text := texts()["mixed"]
	for name, config := range configs {
		b := encode(config, text)
		r := xz.NewReader(iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(b))), limits)
		if out, err := io.ReadAll(r); err != nil || string(out) != text {
			t.Errorf("%s, byte by byte: %d bytes, %v", name, len(out), err)
		}
		if err := iotest.TestReader(xz.NewReader(bytes.NewReader(b), limits), []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	b := encode(configs["CRC-64"], text)
	if _, err := io.ReadAll(xz.NewReader(io.MultiReader(bytes.NewReader(b[:1000]), iotest.ErrReader(broken)), limits)); err != broken {
		t.Error(err)
	}
}

// Several streams are one, with zeros in between, four at a time.
func TestStreams(t *testing.T) {
	first, second := encode(configs["CRC-32"], "first "), encode(configs["SHA-256"], "second")
	for zeros, ok := range map[int]bool{0: true, 4: true, 400: true, 1: false, 7: false} {
		padding := make([]byte, zeros)
		for what, b := range map[string][]byte{
			"between": bytes.Join([][]byte{first, padding, second}, nil),
			"behind":  bytes.Join([][]byte{first, second, padding}, nil),
		} {
			if got, err := decode(b); (err == nil && got == "first second") != ok {
				t.Errorf("%d zeros %s: %q, %v", zeros, what, got, err)
			}
		}
	}
	for _, b := range [][]byte{append(make([]byte, 4), first...), append(bytes.Clone(first), "four"...)} {
		if got, err := decode(b); err == nil {
			t.Errorf("%q is taken", got)
		}
	}
}

// Whatever is cut off or changed, it is found out, wherever there is a check.
func TestDamage(t *testing.T) {
	text := strings.Repeat("abcdefgh", 40) + "0123"
	for name, config := range configs {
		b := encode(config, text)
		for n := range b {
			if got, err := decode(b[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d bytes of %d: %q, %v", name, n, len(b), got, err)
			}
			for bit := range 8 {
				bad := bytes.Clone(b)
				bad[n] ^= 1 << bit
				got, err := decode(bad)
				if err == nil && !config.NoCheckSum {
					t.Errorf("%s, bit %d of byte %d: %d bytes, and no error", name, bit, n, len(got))
				}
			}
		}
	}
}

// What the program makes, with all its levels, checks and threads.
func TestProgram(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("there is no xz")
	}
	text := texts()["mixed"]
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"-0", "-3", "-6", "-9e", "--check=none", "--check=crc32", "--check=sha256", "-T2 --block-size=50000",
		"--block-list=1000,2000,3000", "--lzma2=dict=4KiB", "--lzma2=lc=0,lp=3,pb=1", "--lzma2=nice=273,mf=bt4,mode=normal",
	} {
		b, err := exec.Command("xz", append(strings.Fields(args), "-c", "-k", file)...).Output()
		if err != nil {
			t.Fatal(args, err)
		}
		if got, err := decode(b); err != nil || got != text {
			t.Errorf("%s: %d bytes of %d, %v", args, len(got), len(text), err)
		}
	}
	b, err := exec.Command("xz", "--x86", "--lzma2", "-c", "-k", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(b); err == nil || !strings.Contains(err.Error(), "filter") {
		t.Errorf("with another filter: %v", err)
	}
}

// Memory follows what comes out, and not what a header says.
func TestMemory(t *testing.T) {
	text := texts()["mixed"]
	b := encode(other.WriterConfig{DictCap: 64 << 20}, text)
	for _, limit := range []xz.Limits{limits, {Size: uint64(len(text)), Window: 1 << 20}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := io.Copy(io.Discard, xz.NewReader(bytes.NewReader(b), limit))
		runtime.ReadMemStats(&after)
		if err != nil || n != int64(len(text)) {
			t.Fatal(n, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 6<<20 {
			t.Errorf("%d bytes were allocated", took)
		}
	}
	var tooLarge *xz.WindowError
	if _, err := io.ReadAll(xz.NewReader(bytes.NewReader(b), xz.Limits{Size: 64 << 20, Window: 32 << 20})); !errors.As(err, &tooLarge) {
		t.Error(err)
	}
}

// mostFuzzed is how much is decoded of what a fuzzer has made.
const mostFuzzed = 1 << 20

// both decodes a stream with this package and with another.
func both(b []byte) (got, want []byte, gotErr, wantErr error) {
	read := func(r io.Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, mostFuzzed))
	}
	got, gotErr = read(xz.NewReader(bytes.NewReader(b), xz.Limits{Size: mostFuzzed, Window: 128 << 20}), nil)
	if largeWindow(b) {
		return got, nil, gotErr, errors.ErrUnsupported // it would allocate that
	}
	want, wantErr = read(other.ReaderConfig{DictCap: 4096}.NewReader(bytes.NewReader(b)))
	return got, want, gotErr, wantErr
}

// largeWindow reports whether what may be the header of a block says that it needs more than a
// few megabytes.
func largeWindow(b []byte) bool {
	for i := 0; i+2 < len(b); i++ {
		if b[i] == 0x21 && b[i+1] == 1 && b[i+2] > 22 && b[i+2] <= 40 {
			return true
		}
	}
	return false
}

// Two that nobody wrote together make the same of a stream. The other takes a stream for whole that
// ends between two blocks.
func FuzzStream(f *testing.F) {
	for _, config := range configs {
		b := encode(config, strings.Repeat("lorem ipsum ", 20))
		f.Add(b)
		f.Add(bytes.Join([][]byte{b, make([]byte, 4), b}, nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, want, gotErr, wantErr := both(b)
		if wantErr == nil && (gotErr != nil && gotErr != io.ErrUnexpectedEOF || !bytes.Equal(got, want)) {
			t.Fatalf("%d bytes, %v; the other has %d, %v", len(got), gotErr, len(want), wantErr)
		}
		if gotErr == nil && wantErr != nil && wantErr != errors.ErrUnsupported {
			t.Fatalf("%d bytes are taken; the other says %v", len(got), wantErr)
		}
	})
}

// What is inside of a block has no sum of its own, so a fuzzer comes further there.
func FuzzBlock(f *testing.F) {
	for _, config := range configs {
		config.NoCheckSum, config.BlockSize = true, 0
		f.Add(encode(config, strings.Repeat("lorem ipsum ", 20))[24:], byte(8))
	}
	f.Add([]byte("\x01\x00\x03abcd\x02\x00\x01ef\x00"), byte(0))
	f.Fuzz(func(t *testing.T, chunks []byte, window byte) {
		got, want, gotErr, wantErr := both(blockOf(chunks, window%22))
		n := min(len(got), len(want))
		if !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%d bytes, %v; the other has %d others, %v", len(got), gotErr, len(want), wantErr)
		}
	})
}

// blockOf is the beginning of a stream: a block with these chunks and that window, without
// checks.
func blockOf(chunks []byte, window byte) []byte {
	b := []byte("\xfd7zXZ\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:8]))
	header := []byte{2, 0, 0x21, 1, window, 0, 0, 0}
	b = append(b, header...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
	return append(b, chunks...)
}
