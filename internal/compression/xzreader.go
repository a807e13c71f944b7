package compression

import (
	"io"

	"github.com/mikelolasagasti/xz"
)

// newXzReader decodes the stream of a guard. The decoder of ulikunitz/xz, the library that encodes, is slower: it takes
// more than 1.5 times as long.
func newXzReader(guard *xzGuard) (io.Reader, error) {
	r, err := xz.NewReader(guard, MaxWindow)
	if err == xz.ErrBuf { // the stream is empty
		err = io.ErrUnexpectedEOF
	}
	return orNil[io.Reader](r, err)
}
