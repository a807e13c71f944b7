package main

import (
	"fmt"
	"io"
	"net"

	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A rawClient is a client of the protocol with as little overhead as possible, so that a row measures the daemon.
type rawClient struct {
	nc     net.Conn
	in     *wire.Reader
	params protocol.Params
}

// dialRaw connects to a daemon and performs the handshake.
func dialRaw(socket string) (*rawClient, error) {
	nc, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	c := &rawClient{nc: nc, in: wire.NewReader(nc, 64<<10)}
	c.params, _, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir)
	if err == nil {
		err = c.readMessages()
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// readMessages reads messages up to the last one of a call.
func (c *rawClient) readMessages() error {
	for {
		m, err := c.params.ReadMessage(c.in)
		if err != nil {
			return err
		}
		switch m.Kind {
		case protocol.MessageError:
			return m.Err
		case protocol.MessageLast:
			return nil
		}
	}
}

// call sends a request, with a framed body unless it is nil, and returns the reply.
func (c *rawClient) call(req protocol.Request, body []byte) (protocol.Reply, error) {
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		return nil, err
	}
	if body != nil {
		p = appendFrames(p, body)
	}
	if _, err := c.nc.Write(p); err != nil {
		return nil, err
	}
	if err := c.readMessages(); err != nil {
		return nil, err
	}
	reply := protocol.NewReply(req.Op())
	return reply, c.params.ReadReply(c.in, req.Op(), reply)
}

// appendFrames appends frames with a body, and the frame that ends it.
func appendFrames(p, body []byte) []byte {
	for len(body) > 0 {
		n := min(len(body), 64<<10)
		p = append(wire.AppendUint64(p, uint64(n)), body[:n]...)
		body = body[n:]
	}
	return wire.AppendUint64(p, 0)
}

// addText adds a text, and returns its path.
func (c *rawClient) addText(name, text string, references ...storepath.Path) (storepath.Path, error) {
	reply, err := c.call(&protocol.AddToStoreRequest{Name: name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: references}, []byte(text))
	if err != nil {
		return "", err
	}
	return reply.(*protocol.AddToStoreReply).Info.Path, nil
}

// queryAll queries the path infos of paths, one after the other.
func (c *rawClient) queryAll(paths []storepath.Path) error {
	for _, path := range paths {
		if _, err := c.call(&protocol.QueryPathInfoRequest{Path: path}, nil); err != nil {
			return err
		}
	}
	return nil
}

// addNAR adds an archive. frames are its contents from appendFrames.
func (c *rawClient) addNAR(info *store.PathInfo, frames []byte) error {
	p, err := c.params.AppendRequest(nil, &protocol.AddToStoreNarRequest{Info: *info, DontCheckSigs: true})
	if err != nil {
		return err
	}
	if _, err := c.nc.Write(p); err != nil {
		return err
	}
	if _, err := c.nc.Write(frames); err != nil {
		return err
	}
	return c.readMessages()
}

// readNAR reads an archive of a known size.
func (c *rawClient) readNAR(path storepath.Path, size uint64) error {
	if _, err := c.call(&protocol.NarFromPathRequest{Path: path}, nil); err != nil {
		return err
	}
	n, err := io.CopyN(io.Discard, c.in, int64(size))
	if err != nil {
		return fmt.Errorf("the archive ends after %d bytes: %w", n, err)
	}
	return nil
}
