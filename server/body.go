package server

import (
	"io"

	"pix/nar"
	"pix/protocol"
	"pix/wire"
)

// A body is what follows a request. Its Reader ends where the body does.
type body struct {
	io.Reader              // nil if nothing follows
	drain     func() error // reads what is left; nil if there is nothing to read
	whole     bool         // it is an archive as it is, which the client cannot break off
}

// body returns what follows the request in this version of the protocol.
func (c *conn) body(req protocol.Request) *body {
	row, _ := protocol.Lookup(req.Op())
	switch row.Body(c.params) {
	case protocol.FramedBody:
		frames := wire.NewFrameReader(c.reader)
		c.tunnel.uploading.Store(true)
		return &body{Reader: &uploadReader{frames, c}, drain: func() error {
			defer c.tunnel.uploading.Store(false)
			return frames.Drain()
		}}
	case protocol.NARBody:
		archive := nar.NewRawReader(c.reader)
		c.tunnel.uploading.Store(true)
		return &body{Reader: &uploadReader{archive, c}, whole: true, drain: func() error {
			defer c.tunnel.uploading.Store(false)
			_, err := io.Copy(io.Discard, archive)
			return err
		}}
	case protocol.AskedBody:
		// Only an archive says where it ends, and to ask once more than that would make
		// the client fail. What is not asked for does not come.
		return &body{Reader: nar.NewRawReader(wire.NewReader(&askingReader{c: c}, askSize))}
	}
	return &noBody
}

// noBody is what follows most requests: nothing.
var noBody body

// end reads what is left of the body, so that the next request follows.
func (b *body) end() error {
	if b.drain == nil {
		return nil
	}
	return b.drain()
}

// An uploadReader notes when the body is at its end.
type uploadReader struct {
	io.Reader
	c *conn
}

func (u *uploadReader) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil {
		u.c.tunnel.uploading.Store(false)
	}
	return n, err
}

// askSize is how many bytes are asked for at a time.
const askSize = 64 << 10

// An askingReader asks the client for the bytes that are wanted.
type askingReader struct {
	c    *conn
	left []byte // sent and not yet read
}

func (a *askingReader) Read(p []byte) (int, error) {
	if len(a.left) == 0 {
		ask, err := a.c.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageRead, Want: askSize})
		if err != nil {
			return 0, err
		}
		a.c.out.put(ask)
		if a.left, err = a.c.reader.Bytes(askSize); err != nil {
			return 0, err
		}
		if len(a.left) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, a.left)
	a.left = a.left[n:]
	return n, nil
}

// fileIn returns the contents of an archive that is a single file, as a stream.
func fileIn(archive io.Reader) (io.Reader, error) {
	r := nar.NewReader(archive)
	entry, err := r.Next()
	if err != nil {
		return nil, err
	}
	if entry.Kind != nar.Regular || entry.Executable {
		return nil, errNoFile
	}
	return r, nil
}
