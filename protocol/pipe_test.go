package protocol

import (
	"io"

	"pix/wire"
)

// A pipe is one end of a connection in memory.
type pipe struct {
	io.Reader
	io.WriteCloser
}

func newPipe() (client, server pipe) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return pipe{r1, w2}, pipe{r2, w1}
}

func (p pipe) reader() *wire.Reader { return wire.NewReader(p.Reader, 0) }
