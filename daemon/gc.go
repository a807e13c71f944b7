package daemon

import (
	"context"
	"slices"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// CollectGarbage collects garbage, or returns what it would collect. The paths of the result
// are sorted. Options that need a feature which the daemon lacks fail with
// [errors.ErrUnsupported].
func (c *Conn) CollectGarbage(ctx context.Context, opts store.GCOptions) (*store.GCResult, error) {
	reply, err := invoke[protocol.CollectGarbageReply](ctx, c, &protocol.CollectGarbageRequest{GCOptions: opts})
	if err != nil {
		return nil, err
	}
	slices.Sort(reply.Paths)
	return &reply.GCResult, nil
}

// SyncWithGC waits for a running collection, in Nix before 2.4. Since then it has no effect.
func (c *Conn) SyncWithGC(ctx context.Context) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.SyncWithGCRequest{})
	return err
}

// OptimiseStore replaces identical files in the store with hard links.
func (c *Conn) OptimiseStore(ctx context.Context) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.OptimiseStoreRequest{})
	return err
}

// VerifyStore checks that all valid paths exist. With checkContents it also compares their
// contents with their hashes. With repair, which needs a trusted user ([*protocol.TrustError]),
// the daemon substitutes or builds damaged paths again. It reports whether errors remain. The
// daemon logs them.
func (c *Conn) VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error) {
	reply, err := invoke[protocol.VerifyStoreReply](ctx, c, &protocol.VerifyStoreRequest{CheckContents: checkContents, Repair: repair})
	return reply.Errors, err
}

// AddSignatures adds signatures to a valid path. Before protocol 1.35 it needs a trusted user.
func (c *Conn) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.AddSignaturesRequest{Path: path, Signatures: signatures})
	return err
}

// AddTempRoot protects a path from garbage collection while the connection is open. The path
// need not be valid yet.
func (c *Conn) AddTempRoot(ctx context.Context, path storepath.Path) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.AddTempRootRequest{Path: path})
	return err
}

// AddTempRoots protects paths from garbage collection while the connection is open. It takes
// one round trip if the daemon has the feature [protocol.TempRoots], otherwise one for each
// path.
func (c *Conn) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	if len(paths) == 0 {
		return nil
	}
	if c.params.Features.Has(protocol.TempRoots) {
		_, err := invoke[protocol.Ack](ctx, c, &protocol.AddTempRootsRequest{Paths: paths})
		return err
	}
	for _, p := range paths {
		if err := c.AddTempRoot(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// AddIndirectRoot registers a symlink as a root. link is an absolute name in the daemon's file
// system. Its target must be in the store.
func (c *Conn) AddIndirectRoot(ctx context.Context, link string) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.AddIndirectRootRequest{Link: link})
	return err
}

// AddPermRoot makes the daemon create a symlink to a path and register it as a root. It returns
// the name of the symlink. It needs protocol 1.36 and a trusted user ([*protocol.TrustError]).
func (c *Conn) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	reply, err := invoke[protocol.AddPermRootReply](ctx, c, &protocol.AddPermRootRequest{Path: path, Link: link})
	return reply.Link, err
}

// FindRoots returns the garbage collector roots, sorted by path and link.
func (c *Conn) FindRoots(ctx context.Context) ([]store.Root, error) {
	reply, err := invoke[protocol.FindRootsReply](ctx, c, &protocol.FindRootsRequest{})
	store.SortRoots(reply.Roots)
	return reply.Roots, err
}
