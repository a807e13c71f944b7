package daemon

import (
	"bytes"
	"io"
	"testing"

	"pix/wire"
)

// isOperation reports whether some Nix from 2.3 to 2.36 takes n for an operation, or may do so
// later.
func isOperation(n int) bool {
	return n != 2 && n != 15 && n != 17 && n < 256 || 900 <= n && n <= 1100
}

// Contents of any size are cut into frames of which none has a length that is an operation,
// except that the last frame of an odd number of bytes, if that is below 15, has one byte.
func TestFrameLengths(t *testing.T) {
	for size := range chunk + reserve + 1 {
		for left := size; left > 0; {
			n := frameLen(left)
			unsafe := n == 1 && left == 1 && size < 15 && size%2 == 1
			if n < 1 || n > left || isOperation(n) && !unsafe {
				t.Fatalf("%d bytes: a frame of %d bytes where %d are left", size, n, left)
			}
			left -= n
		}
	}
}

// What is framed comes out again.
func TestAppendFrames(t *testing.T) {
	contents := bytes.Repeat([]byte("0123456789abcdefg"), 5000)
	for _, size := range []int{0, 1, 2, 3, 14, 15, 16, 17, 255, 256, 257, 899, 900, 901, 1099, 1100, 1101, chunk, chunk + reserve} {
		framed := wire.AppendUint64(appendFrames(nil, contents[:size]), 0)
		got, err := io.ReadAll(wire.NewFrameReader(wire.NewReader(bytes.NewReader(framed), 0)))
		if err != nil || !bytes.Equal(got, contents[:size]) {
			t.Errorf("%d bytes came as %d, %v", size, len(got), err)
		}
	}
}
