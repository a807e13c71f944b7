package daemon

import (
	"context"
	"io"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// What only the daemon knows that a build can talk to. All others lack the features, which
// is an error that is [errors.ErrUnsupported].

// SubmitOutput says, during a build, which path is an output of it.
func (c *Conn) SubmitOutput(ctx context.Context, path derivation.SingleDerivedPath, output string) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.SubmitOutputRequest{Path: path, Output: output})
	return err
}

// AddToStoreScanning adds an object during a build; the daemon looks itself for references.
func (c *Conn) AddToStoreScanning(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*store.PathInfo, error) {
	if err := c.checkMethod(m, a); err != nil {
		return nil, err
	}
	req := &protocol.AddToStoreScanningRequest{Name: name, Method: m, Algorithm: a}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, all(contents))
	if err != nil {
		return nil, err
	}
	return &reply.Info, nil
}
