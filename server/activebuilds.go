package server

import (
	"context"
	"encoding/json"

	"pix/protocol"
	"pix/store"
)

// queryActiveBuilds returns the builds that run now, of all clients and with the arguments of their processes. As with
// Determinate Nix, every client gets them: on most machines ps(1) prints them for all users, too.
func (c *conn) queryActiveBuilds(ctx context.Context, _ *protocol.QueryActiveBuildsRequest) (*protocol.QueryActiveBuildsReply, error) {
	builds, err := store.QueryActiveBuilds(ctx, c.store)
	if err != nil {
		return nil, err
	}
	if builds == nil {
		builds = []store.ActiveBuild{} // the list is never null
	}
	text, err := json.Marshal(builds)
	return &protocol.QueryActiveBuildsReply{JSON: string(text)}, err
}
