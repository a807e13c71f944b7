package daemon

import (
	"context"
	"fmt"
	"strings"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

var _ store.Store = (*Conn)(nil)

// IsValidPath reports whether a path is valid.
func (c *Conn) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	reply, err := query[protocol.IsValidPathReply](ctx, c, &protocol.IsValidPathRequest{Path: path})
	return reply.Valid, err
}

// QueryValidPaths returns those of the paths that are valid, sorted, each once. With
// substitute, the daemon tries first to get those that are not from its substituters;
// the error is [errors.ErrUnsupported] if the protocol is older than 1.27.
func (c *Conn) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	req := &protocol.QueryValidPathsRequest{Paths: paths, Substitute: substitute}
	if substitute { // that may take as long as a download
		reply, err := do[protocol.PathsReply](ctx, c, req, nil)
		return reply.Paths, err
	}
	reply, err := query[protocol.PathsReply](ctx, c, req)
	return reply.Paths, err
}

// QueryPathInfo returns what the daemon knows of a path. The error is a
// [*store.NotFoundError] if the path is not valid.
func (c *Conn) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	reply, err := query[protocol.QueryPathInfoReply](ctx, c, &protocol.QueryPathInfoRequest{Path: path})
	if err != nil {
		return nil, err
	}
	if reply.Info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	reply.Info.Path = path
	return reply.Info, nil
}

var _ store.OutputQuerier = (*Conn)(nil)

// QueryDerivationOutputMap returns the outputs of a derivation by name. An output whose
// path is not known yet has "". The error is an [*activity.Error] if the derivation is
// not valid.
func (c *Conn) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	req := &protocol.QueryDerivationOutputMapRequest{Path: drv}
	if c.params.Check(req.Op()) != nil {
		return c.outputsByName(ctx, drv)
	}
	reply, err := query[protocol.QueryDerivationOutputMapReply](ctx, c, req)
	return reply.Outputs, err
}

// outputsByName asks a daemon from before 1.22 for names and for paths, and puts them
// together: the name of an output's path tells which output it is.
func (c *Conn) outputsByName(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	names, err := do[protocol.QueryDerivationOutputNamesReply](ctx, c, &protocol.QueryDerivationOutputNamesRequest{Path: drv}, nil)
	if err != nil {
		return nil, err
	}
	paths, err := do[protocol.PathsReply](ctx, c, &protocol.QueryDerivationOutputsRequest{Path: drv}, nil)
	if err != nil {
		return nil, err
	}
	drvName := strings.TrimSuffix(drv.Name(), storepath.DerivationExt)
	outputs := make(map[string]storepath.Path, len(names.Names))
	for _, name := range names.Names {
		for _, path := range paths.Paths {
			if path.Name() == storepath.OutputName(drvName, name) {
				outputs[name] = path
			}
		}
	}
	if len(outputs) != len(names.Names) || len(outputs) != len(paths.Paths) {
		return nil, fmt.Errorf("the daemon says that '%s' has the outputs %q, and the paths %q", drv, names.Names, paths.Paths)
	}
	return outputs, nil
}
