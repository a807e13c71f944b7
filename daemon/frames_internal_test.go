package daemon

import (
	"bytes"
	"io"
	"testing"

	"pix/wire"
)

// Contents of any size are split into frames. No frame has a length that is an operation, or
// may become one. The exception is the last frame of an odd number of bytes below 15, which has
// one byte.
func TestFrameLengths(t *testing.T) {
	isOperation := func(n int) bool { return n != 2 && n != 15 && n < 64 || 900 <= n && n <= 1100 }
	for size := range chunk + reserve + 1 {
		frames := 0
		for left := size; left > 0; frames++ {
			atLeast := 64
			if frames == 0 {
				atLeast = 256
			}
			n := frameLen(left, atLeast)
			unsafe := n == 1 && left == 1 && size < 15 && size%2 == 1
			early := frames == 0 && n >= 64 && n < 256
			if n < 1 || n > left || early || isOperation(n) && !unsafe {
				t.Fatalf("%d bytes: frame %d of %d bytes where %d are left", size, frames, n, left)
			}
			left -= n
		}
		if frames > 128 {
			t.Errorf("%d bytes: %d frames", size, frames)
		}
	}
}

// Reading the frames returns the contents.
func TestAppendFrames(t *testing.T) {
	contents := bytes.Repeat([]byte("0123456789abcdefg"), 5000)
	for _, size := range []int{0, 1, 2, 3, 14, 15, 16, 17, 63, 64, 65, 66, 255, 256, 257, 899, 900, 901, 1099, 1100, 1101, chunk, chunk + reserve} {
		framed := wire.AppendUint64(appendFrames(nil, contents[:size]), 0)
		got, err := io.ReadAll(wire.NewFrameReader(wire.NewReader(bytes.NewReader(framed), 0)))
		if err != nil || !bytes.Equal(got, contents[:size]) {
			t.Errorf("%d bytes were read as %d, %v", size, len(got), err)
		}
	}
}
