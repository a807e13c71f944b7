package daemon

import (
	"context"
	"fmt"
	"strings"

	"pix/protocol"
	"pix/storepath"
)

// QueryDerivationOutputMap returns the outputs of a derivation by name. An output whose
// path is not known yet has "". The error is an [*activity.Error] if the derivation is
// not valid.
func (c *Conn) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	req := &protocol.QueryDerivationOutputMapRequest{Path: drv}
	if c.params.Check(req.Op()) != nil {
		return c.outputsByName(ctx, drv)
	}
	reply, err := ask[protocol.QueryDerivationOutputMapReply](ctx, c, req)
	return reply.Outputs, err
}

// QueryDerivationOutputs returns the output paths of a derivation, sorted.
// [Conn.QueryDerivationOutputMap] says that and more.
func (c *Conn) QueryDerivationOutputs(ctx context.Context, drv storepath.Path) ([]storepath.Path, error) {
	reply, err := ask[protocol.PathsReply](ctx, c, &protocol.QueryDerivationOutputsRequest{Path: drv})
	return reply.Paths, err
}

// QueryDerivationOutputNames returns the output names of a derivation, sorted.
// [Conn.QueryDerivationOutputMap] says that and more.
func (c *Conn) QueryDerivationOutputNames(ctx context.Context, drv storepath.Path) ([]string, error) {
	reply, err := ask[protocol.QueryDerivationOutputNamesReply](ctx, c, &protocol.QueryDerivationOutputNamesRequest{Path: drv})
	return reply.Names, err
}

// outputsByName asks a daemon from before 1.22 for names and for paths, and puts them
// together: the name of an output's path tells which output it is.
func (c *Conn) outputsByName(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	names, err := c.QueryDerivationOutputNames(ctx, drv)
	if err != nil {
		return nil, err
	}
	paths, err := c.QueryDerivationOutputs(ctx, drv)
	if err != nil {
		return nil, err
	}
	drvName := strings.TrimSuffix(drv.Name(), storepath.DerivationExt)
	outputs := make(map[string]storepath.Path, len(names))
	for _, name := range names {
		for _, path := range paths {
			if path.Name() == storepath.OutputName(drvName, name) {
				outputs[name] = path
			}
		}
	}
	if len(outputs) != len(names) || len(outputs) != len(paths) {
		return nil, fmt.Errorf("the daemon says that '%s' has the outputs %q, and the paths %q", drv, names, paths)
	}
	return outputs, nil
}
