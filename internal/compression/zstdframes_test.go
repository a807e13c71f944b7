package compression

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"pix/internal/testenv"
)

// large returns contents of two frames, and their stream.
var large = sync.OnceValues(func() (contents, stream []byte) {
	b := make([]byte, 0, zstdFrame+tail)
	for i := uint32(0); len(b) < zstdFrame+tail; i++ {
		b = binary.BigEndian.AppendUint32(b, i*i)
		b = append(b, bytes.Repeat([]byte("some text "), int(i%50))...)
	}
	b = b[:zstdFrame+tail]
	var out bytes.Buffer
	w, err := Encode("zstd", &out, 0, 0)
	if err != nil {
		panic(err)
	}
	w.Write(b)
	w.Close()
	return b, out.Bytes()
})

// tail is the size of the second frame of large.
const tail = 512<<10 + 12345

func encodeZstd(t *testing.T, contents []byte, size uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := Encode("zstd", &b, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	for part := range chunks(contents, 100_000) {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// chunks returns the parts of b with n bytes.
func chunks(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(n, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

func decodeZstd(src io.Reader, size int) ([]byte, error) {
	r, err := Decode("zstd", src, uint64(size))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// frames returns the frames of a stream, and the sizes in their headers.
func frames(t *testing.T, b []byte) (all [][]byte, sizes []uint64) {
	t.Helper()
	for len(b) > 0 {
		header, err := zstd.Header{}, error(nil)
		if err = header.Decode(b); err != nil || !header.HasFCS {
			t.Fatalf("%+v, %v", header, err)
		}
		src := bufio.NewReader(bytes.NewReader(b))
		var frame bytes.Buffer
		if whole, err := readFrame(&frame, src, header.FrameContentSize, header.HasCheckSum); !whole || err != nil {
			t.Fatal(whole, err)
		}
		all, sizes = append(all, b[:frame.Len()]), append(sizes, header.FrameContentSize)
		b = b[frame.Len():]
	}
	return all, sizes
}

// Contents are compressed in frames of 16 MiB that have their sizes, and other programs decode them.
func TestZstdFrames(t *testing.T) {
	contents, b := large()
	if !bytes.Equal(b, encodeZstd(t, contents, 1<<40)) {
		t.Error("the stream depends on the expected size")
	}
	_, sizes := frames(t, b)
	if len(sizes) != 2 || sizes[0] != zstdFrame || sizes[1] != tail {
		t.Errorf("the frames have %d bytes", sizes)
	}
	for n, want := range map[int]int{300: 1, zstdFrame: 1} {
		if _, sizes := frames(t, encodeZstd(t, contents[:n], 0)); len(sizes) != want {
			t.Errorf("%d bytes have %d frames, want %d", n, len(sizes), want)
		}
	}
	if b := encodeZstd(t, nil, 0); len(b) == 0 {
		t.Error("there is no frame without contents, which other programs reject")
	}
	path, err := exec.LookPath("zstd")
	if err != nil {
		testenv.Missing(t, "compressors", "the program zstd is not installed, so the stream is not compared with it")
	}
	cmd := exec.Command(path, "-dc")
	cmd.Stdin = bytes.NewReader(b)
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, contents) {
		t.Errorf("zstd decodes %d bytes, %v", len(got), err)
	}
}

// Frames are decoded ahead, and also together with frames of other kinds.
func TestZstdAhead(t *testing.T) {
	contents, b := large()
	all, _ := frames(t, b)
	second, end := string(all[1]), string(contents[zstdFrame:])
	var streamed bytes.Buffer // without a size
	w, _ := zstd.NewWriter(&streamed)
	w.Write(contents[:300_000])
	w.Flush()
	w.Close()
	skippable := "\x5a\x2a\x4d\x18\x04\x00\x00\x00abcd"
	for name, c := range map[string]struct {
		stream string
		want   string
	}{
		"two frames":              {string(b), string(contents)},
		"a frame without a size":  {second + streamed.String() + second, end + string(contents[:300_000]) + end},
		"a skippable frame":       {second + skippable + second, end + end},
		"a skippable frame first": {skippable + second, end},
		"many frames":             {strings.Repeat(second, 9), strings.Repeat(end, 9)},
	} {
		for _, size := range []int{len(c.want), 1 << 40} {
			src := iotest.HalfReader(strings.NewReader(c.stream))
			r, err := newZstdReader(src, uint64(size))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != c.want {
				t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(c.want), err)
			}
		}
	}
}

// A broken stream is an error after the frames before it.
func TestZstdAheadBroken(t *testing.T) {
	contents, b := large()
	all, _ := frames(t, b)
	second := len(all[0])
	for _, n := range []int{3, second - 1, second + 10, second + 1000, len(b) - 1} {
		got, err := decodeZstd(bytes.NewReader(b[:n]), len(contents))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(contents, got) || n > second && len(got) < zstdFrame {
			t.Errorf("%d of %d bytes: %d are decoded, %v", n, len(b), len(got), err)
		}
	}
	broken := errors.New("broken")
	if _, err := decodeZstd(io.MultiReader(bytes.NewReader(b[:second+100]), iotest.ErrReader(broken)), len(contents)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	for _, at := range []int{second + 5, second + 6, second + 500, len(b) - 1} { // window or size, contents, checksum
		changed := bytes.Clone(b)
		changed[at] ^= 0x10
		if got, err := decodeZstd(bytes.NewReader(changed), len(contents)); err == nil && bytes.Equal(got, contents) && at != second+5 || err == nil && !bytes.Equal(got, contents) {
			t.Errorf("byte %d is changed: %d bytes, %v", at, len(got), err)
		}
	}
	// A small frame that claims large contents.
	lie := append([]byte("\x28\xb5\x2f\xfd\xa0"), 0, 0, 0, 1, 1, 0, 0)
	if got, err := decodeZstd(bytes.NewReader(lie), 2*zstdFrame); err == nil {
		t.Errorf("%d bytes", len(got))
	}
}
