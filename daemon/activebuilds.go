package daemon

import (
	"context"

	"pix/protocol"
	"pix/store"
)

// QueryActiveBuilds returns the builds that the daemon runs now, of all its clients. Only pix and Determinate Nix can
// answer it; the error is [errors.ErrUnsupported] if the daemon does not have [protocol.ActiveBuilds].
func (c *Conn) QueryActiveBuilds(ctx context.Context) ([]store.ActiveBuild, error) {
	reply, err := invoke[protocol.QueryActiveBuildsReply](ctx, c, new(protocol.QueryActiveBuildsRequest))
	if err != nil {
		return nil, err
	}
	return store.ParseActiveBuildsJSON(c.Dir(), []byte(reply.JSON))
}

// QueryActiveBuilds returns the builds that the daemon runs now: see [Conn.QueryActiveBuilds].
func (p *Pool) QueryActiveBuilds(ctx context.Context) ([]store.ActiveBuild, error) {
	return withLeaseRetry(ctx, p, func(c *Conn) ([]store.ActiveBuild, error) { return c.QueryActiveBuilds(ctx) })
}
