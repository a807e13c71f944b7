package xz_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"pix/internal/testenv"
	"pix/internal/xz"
)

// sample has parts that compress well, parts that do not, repetitions at all distances, and patterns of machine code.
func sample(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for len(b) < n {
		switch random.IntN(6) {
		case 0:
			b = append(b, make([]byte, random.IntN(3000))...)
		case 1:
			for range random.IntN(2000) {
				b = append(b, byte(random.Uint32()))
			}
		case 2:
			for range random.IntN(500) { // calls in machine code of several processors
				b = append(b, "\xe8\xe9\xeb\x94\x90\x48\x40\xf0\xf8\x00\xff"[random.IntN(11)], byte(random.Uint32()), byte(random.IntN(2)*255), "\x00\xff\xeb\x94\x90\xf8"[random.IntN(6)])
			}
		case 3:
			for range random.IntN(300) {
				b = append(b, "lorem ipsum dolor sit amet "[random.IntN(20):]...)
			}
		default:
			if len(b) > 0 {
				from := random.IntN(len(b))
				b = append(b, b[from:min(from+random.IntN(3000), len(b))]...)
			}
		}
	}
	return b[:n]
}

func encode(t testing.TB, contents []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("xz")
	if err != nil {
		testenv.Missing(t, "compressors", "the program xz is not installed")
	}
	cmd := exec.Command(path, append([]string{"--stdout"}, args...)...)
	cmd.Stdin = bytes.NewReader(contents)
	b, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		errors.As(err, &failed)
		t.Fatalf("xz %q: %v: %s", args, err, failed.Stderr)
	}
	return b
}

func decode(b []byte, o xz.Options) ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(b), o)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Files of the program xz are decoded, with all of its options.
func TestPrograms(t *testing.T) {
	contents := sample(100_000)
	for _, args := range []string{
		"-0", "-1", "-3e", "-6", "-9e", "-C none", "-C crc32", "-C sha256", "-T2 --block-size=30000", "--block-size=1000 -C crc32",
		"--lzma2=dict=4KiB", "--lzma2=dict=4KiB,nice=273", "--lzma2=preset=6,lc=0,lp=4,pb=4", "--lzma2=lc=4,lp=0,pb=0", "--lzma2=lc=1,lp=3,pb=1,mode=fast",
		"--x86 --lzma2", "--arm --lzma2", "--armthumb --lzma2", "--arm64 --lzma2", "--powerpc --lzma2", "--ia64 --lzma2", "--sparc --lzma2",
		"--x86=start=4096 --lzma2", "--arm64=start=65536 --lzma2", "--delta=dist=4 --lzma2", "--delta=dist=256 --x86 --delta --lzma2",
		"-T2 --block-size=40000 --x86 --lzma2=dict=64KiB",
	} {
		t.Run(args, func(t *testing.T) {
			b := encode(t, contents, strings.Fields(args)...)
			for _, o := range []xz.Options{{}, {Goroutines: 1}, {Goroutines: 3}, {Size: uint64(len(contents))}} {
				if got, err := decode(b, o); err != nil || !bytes.Equal(got, contents) {
					t.Errorf("%+v: %d bytes, %v", o, len(got), err)
				}
			}
			r, err := xz.NewReader(iotest.OneByteReader(bytes.NewReader(b)), xz.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, contents); err != nil {
				t.Error(err)
			}
		})
	}
}

// Any size of contents is decoded: none, a few bytes, around the ends of chunks.
func TestSizes(t *testing.T) {
	contents := sample(2<<20 + 100_000)
	for _, n := range []int{0, 1, 2, 15, 4095, 4096, 4097, 65536, 65537, 1 << 21, 1<<21 + 1, len(contents)} {
		for _, args := range []string{"-0", "--lzma2=preset=1,dict=4KiB"} {
			b := encode(t, contents[:n], strings.Fields(args)...)
			if got, err := decode(b, xz.Options{Size: uint64(n)}); err != nil || !bytes.Equal(got, contents[:n]) {
				t.Errorf("%d, %s: %d bytes, %v", n, args, len(got), err)
			}
		}
	}
}

// Streams may follow each other, with a multiple of 4 zeros after each.
func TestSeveralStreams(t *testing.T) {
	one := encode(t, []byte("one"))
	two := encode(t, []byte("two"), "-T2")
	for _, c := range []struct {
		padding string
		end     string
		want    string // "" for an error
	}{
		{"", "", "onetwo"}, {"\x00\x00\x00\x00", "", "onetwo"}, {"", "\x00\x00\x00\x00\x00\x00\x00\x00", "onetwo"},
		{"\x00\x00", "", ""}, {"", "\x00", ""}, {"", "\x00\x00\x00", ""}, {"", "x", ""}, {"\x01\x00\x00\x00", "", ""},
	} {
		got, err := decode([]byte(string(one)+c.padding+string(two)+c.end), xz.Options{})
		if (err == nil) != (c.want != "") || err == nil && string(got) != c.want {
			t.Errorf("%q, %q: %q, %v", c.padding, c.end, got, err)
		}
	}
	if _, err := decode(append(make([]byte, 4), one...), xz.Options{}); err == nil {
		t.Error("zeros before the first stream are accepted")
	}
}

// small are files that have all parts of the format.
func small(t testing.TB) [][]byte {
	contents := sample(300)
	return [][]byte{
		encode(t, contents),
		encode(t, contents, "-T2", "--block-size=100", "-C", "sha256"),
		encode(t, contents[:50], "-C", "none", "--x86", "--lzma2"),
		append(encode(t, contents[:20], "-C", "crc32"), encode(t, contents[:9])...),
	}
}

// A file that ends too early is an error everywhere.
func TestTruncated(t *testing.T) {
	for i, b := range small(t) {
		for n := range b {
			if got, err := decode(b[:n], xz.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				if i == 3 && err == nil && string(got) == string(sample(20)) {
					continue // between two streams
				}
				t.Errorf("file %d: %d of %d bytes: %v", i, n, len(b), err)
			}
		}
	}
}

// A file with a changed byte is an error where it is one for the program xz.
func TestFlipped(t *testing.T) {
	step := 23
	if os.Getenv("PIX_LONG") != "" {
		step = 1
	}
	for i, b := range small(t) {
		for at := i; at < len(b); at += step {
			changed := bytes.Clone(b)
			changed[at] ^= 1 << (at % 8)
			cmd := exec.Command("xz", "--test")
			cmd.Stdin = bytes.NewReader(changed)
			const warning = 2 // an unknown check, which is not verified
			wantErr := cmd.Run()
			if cmd.ProcessState.ExitCode() == warning {
				wantErr = nil
			}
			if _, err := decode(changed, xz.Options{}); (err == nil) != (wantErr == nil) {
				t.Errorf("file %d: byte %d of %d is changed: %v; xz: %v", i, at, len(b), err, wantErr)
			}
		}
	}
}

// An error of the source is returned, also if it comes while blocks are read ahead.
func TestSourceError(t *testing.T) {
	broken := errors.New("broken")
	contents := sample(5000)
	b := encode(t, contents, "-T2", "--block-size=1000")
	for _, n := range []int{0, 5, 12, 100, len(b) / 2, len(b) - 1} {
		r, err := xz.NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), xz.Options{Goroutines: 4})
		if err == nil {
			var got []byte
			if got, err = io.ReadAll(r); !bytes.HasPrefix(contents, got) {
				t.Errorf("%d: wrong contents", n)
			}
			if n == len(b)/2 && len(got) < 1000 {
				t.Errorf("only %d bytes of the blocks before the error are returned", len(got))
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
