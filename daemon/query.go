package daemon

import (
	"context"
	"fmt"

	"pix/nixbase32"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// IsValidPath reports whether a path is valid.
func (c *Conn) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	reply, err := ask[protocol.IsValidPathReply](ctx, c, &protocol.IsValidPathRequest{Path: path})
	return reply.Valid, err
}

// QueryValidPaths returns those of the paths that are valid, sorted, each once. With
// substitute, the daemon tries first to get those that are not from its substituters;
// the error is [errors.ErrUnsupported] if the protocol is older than 1.27.
func (c *Conn) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QueryValidPathsRequest{Paths: paths, Substitute: substitute})
	return reply.Paths, err
}

// QueryAllValidPaths returns all valid paths, sorted.
func (c *Conn) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QueryAllValidPathsRequest{})
	return reply.Paths, err
}

// QueryPathInfo returns what the daemon knows of a path. The error is a
// [*store.NotFoundError] if the path is not valid.
func (c *Conn) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	reply, err := ask[protocol.QueryPathInfoReply](ctx, c, &protocol.QueryPathInfoRequest{Path: path})
	if err != nil {
		return nil, err
	}
	return infoOf(path, reply.Info)
}

// infoOf completes what was answered about a path.
func infoOf(path storepath.Path, info *store.PathInfo) (*store.PathInfo, error) {
	if info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	info.Path = path
	return info, nil
}

// QueryReferrers returns the valid paths that refer to a path, sorted. Of a path that is not
// valid there may be some, too.
func (c *Conn) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QueryReferrersRequest{Path: path})
	return reply.Paths, err
}

// QueryValidDerivers returns the valid derivations that have a path as an output, sorted.
func (c *Conn) QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QueryValidDeriversRequest{Path: path})
	return reply.Paths, err
}

// QueryDeriver returns the derivation that made a valid path, or "" if that is not known.
// [Conn.QueryPathInfo] says that and more.
func (c *Conn) QueryDeriver(ctx context.Context, path storepath.Path) (storepath.Path, error) {
	reply, err := ask[protocol.OptionalPathReply](ctx, c, &protocol.QueryDeriverRequest{Path: path})
	return reply.Path, err
}

// QueryPathFromHashPart returns the valid path with a hash part, which has
// [storepath.HashPartLen] characters. The error is a [*store.NotFoundError] without a path
// if there is none.
func (c *Conn) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	if err := checkHashPart(hashPart); err != nil {
		return "", err
	}
	reply, err := ask[protocol.OptionalPathReply](ctx, c, &protocol.QueryPathFromHashPartRequest{HashPart: hashPart})
	if err == nil && reply.Path == "" {
		err = &store.NotFoundError{}
	}
	return reply.Path, err
}

// checkHashPart refuses what no path has: Nix takes it for the beginning of one.
func checkHashPart(s string) error {
	if len(s) != storepath.HashPartLen {
		return fmt.Errorf("the hash part %q does not have %d characters", s, storepath.HashPartLen)
	}
	if _, err := nixbase32.DecodeString(s); err != nil {
		return fmt.Errorf("the hash part %q: %w", s, err)
	}
	return nil
}
