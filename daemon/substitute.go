package daemon

import (
	"context"
	"sort"

	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// QuerySubstitutablePaths returns those of the paths that the substituters have, sorted.
func (c *Conn) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QuerySubstitutablePathsRequest{Paths: paths})
	return reply.Paths, err
}

// QuerySubstitutablePathInfo returns what the substituters say of a path. The error is a
// [*store.NotFoundError] if none has it.
func (c *Conn) QuerySubstitutablePathInfo(ctx context.Context, path storepath.Path) (*store.SubstitutableInfo, error) {
	reply, err := ask[protocol.QuerySubstitutablePathInfoReply](ctx, c, &protocol.QuerySubstitutablePathInfoRequest{Path: path})
	if err != nil {
		return nil, err
	}
	if reply.Info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	reply.Info.Path = path
	return reply.Info, nil
}

// QuerySubstitutablePathInfos returns what the substituters say of paths, sorted by path,
// without those that none has. With its content address a path may be found in a
// substituter of another store directory; before protocol 1.22 giving one is an error that
// is [errors.ErrUnsupported].
func (c *Conn) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	reply, err := ask[protocol.QuerySubstitutablePathInfosReply](ctx, c, &protocol.QuerySubstitutablePathInfosRequest{Paths: paths})
	sort.Slice(reply.Infos, func(i, j int) bool { return reply.Infos[i].Path < reply.Infos[j].Path })
	return reply.Infos, err
}

// QueryMissing says what it would take to make paths valid. It needs protocol 1.19.
func (c *Conn) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	reply, err := ask[protocol.QueryMissingReply](ctx, c, &protocol.QueryMissingRequest{Paths: paths})
	if err != nil {
		return nil, err
	}
	return &reply.Missing, nil
}

// EnsurePath makes a path valid by substitution, if it is not. The error is an
// [*activity.Error] if no substituter has it.
func (c *Conn) EnsurePath(ctx context.Context, path storepath.Path) error {
	_, err := ask[protocol.Ack](ctx, c, &protocol.EnsurePathRequest{Path: path})
	return err
}
