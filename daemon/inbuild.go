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

// These operations are for programs that run in a build, and talk to the daemon of that
// build. Options.Features must offer the features. Without them the error is
// [errors.ErrUnsupported].

// SubmitOutput tells the daemon which path is an output of the build.
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
