package compression

import (
	"io"

	"github.com/mikelolasagasti/xz"
)

// newXzReader decodes what a guard lets pass. The library that encodes could decode too, and
// takes more than half as long again.
func newXzReader(guard *xzGuard) (io.Reader, error) {
	r, err := xz.NewReader(guard, MaxWindow)
	if err == xz.ErrBuf { // there is nothing at all
		err = io.ErrUnexpectedEOF
	}
	return orNil[io.Reader](r, err)
}
