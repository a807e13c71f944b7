package daemon

import (
	"context"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// AddTempRoot keeps a path from being collected as long as the connection is open. It need
// not be valid yet.
func (c *Conn) AddTempRoot(ctx context.Context, path storepath.Path) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.AddTempRootRequest{Path: path})
	return err
}

// AddTempRoots keeps paths from being collected as long as the connection is open. It takes one round trip
// if the daemon has the feature [protocol.TempRoots], and else one for each path.
func (c *Conn) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	if len(paths) == 0 {
		return nil
	}
	if c.params.Features.Has(protocol.TempRoots) {
		_, err := ask[protocol.Ack](ctx, c, &protocol.AddTempRootsRequest{Paths: paths})
		return err
	}
	for _, p := range paths {
		if err := c.AddTempRoot(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// AddIndirectRoot makes the symlink at link, which is absolute, lies in the daemon's file
// system and points into the store, a root.
func (c *Conn) AddIndirectRoot(ctx context.Context, link string) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.AddIndirectRootRequest{Link: link})
	return err
}

// AddPermRoot makes the daemon make a symlink at link to path, and that a root. It returns
// where the symlink is. It needs protocol 1.36, and a trusted user ([*protocol.TrustError]).
func (c *Conn) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	reply, err := ask[protocol.AddPermRootReply](ctx, c, &protocol.AddPermRootRequest{Path: path, Link: link})
	return reply.Link, err
}

// FindRoots returns what keeps which paths from being collected, sorted by path and link.
func (c *Conn) FindRoots(ctx context.Context) ([]store.Root, error) {
	reply, err := ask[protocol.FindRootsReply](ctx, c, &protocol.FindRootsRequest{})
	store.SortRoots(reply.Roots)
	return reply.Roots, err
}
