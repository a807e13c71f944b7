package daemon

import (
	"context"
	"slices"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// CollectGarbage collects garbage, or says what it would collect. The paths of the result
// are sorted. Options that need a feature which the daemon lacks are an error that is
// [errors.ErrUnsupported].
func (c *Conn) CollectGarbage(ctx context.Context, opts store.GCOptions) (*store.GCResult, error) {
	reply, err := ask[protocol.CollectGarbageReply](ctx, c, &protocol.CollectGarbageRequest{GCOptions: opts})
	if err != nil {
		return nil, err
	}
	slices.Sort(reply.Paths)
	return &reply.GCResult, nil
}

// SyncWithGC does nothing since Nix 2.4; before, it waited for a running collection.
func (c *Conn) SyncWithGC(ctx context.Context) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.SyncWithGCRequest{})
	return err
}

// OptimiseStore makes equal files in the store one.
func (c *Conn) OptimiseStore(ctx context.Context) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.OptimiseStoreRequest{})
	return err
}

// VerifyStore checks that what should be valid is there and, with checkContents, that it
// has not changed. With repair, which needs a trusted user ([*protocol.TrustError]), what
// is damaged is fetched or built again. It reports whether errors remain; what they are the
// daemon says in its log.
func (c *Conn) VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error) {
	reply, err := ask[protocol.VerifyStoreReply](ctx, c, &protocol.VerifyStoreRequest{CheckContents: checkContents, Repair: repair})
	return reply.Errors, err
}

// AddSignatures adds signatures to a valid path. Before protocol 1.35 it needs a trusted
// user.
func (c *Conn) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.AddSignaturesRequest{Path: path, Signatures: signatures})
	return err
}
