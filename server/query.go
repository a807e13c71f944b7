package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

func (c *conn) isValidPath(ctx context.Context, req *protocol.IsValidPathRequest) (*protocol.IsValidPathReply, error) {
	valid, err := c.store.IsValidPath(ctx, req.Path)
	return &protocol.IsValidPathReply{Valid: valid}, err
}

func (c *conn) queryValidPaths(ctx context.Context, req *protocol.QueryValidPathsRequest) (*protocol.PathsReply, error) {
	paths, err := c.store.QueryValidPaths(ctx, req.Paths, req.Substitute)
	if req.Substitute && c.upstream != nil && errors.Is(err, errors.ErrUnsupported) {
		if err = c.substitutePaths(ctx, req.Paths); err == nil {
			paths, err = c.store.QueryValidPaths(ctx, req.Paths, false)
		}
	}
	return &protocol.PathsReply{Paths: paths}, err
}

func (c *conn) queryAllValidPaths(ctx context.Context, _ *protocol.QueryAllValidPathsRequest) (*protocol.PathsReply, error) {
	q, ok := store.As[store.AllPathsQuerier](c.store)
	if !ok {
		return nil, unsupportedOperation("queryAllValidPaths")
	}
	paths, err := q.QueryAllValidPaths(ctx)
	return &protocol.PathsReply{Paths: paths}, err
}

func (c *conn) queryPathInfo(ctx context.Context, req *protocol.QueryPathInfoRequest) (*protocol.QueryPathInfoReply, error) {
	info, err := c.store.QueryPathInfo(ctx, req.Path)
	if errors.Is(err, store.ErrNotFound) {
		return new(protocol.QueryPathInfoReply), nil
	}
	return &protocol.QueryPathInfoReply{Info: info}, err
}

// queryPathInfos returns the infos of the valid paths. They can be much larger than the
// request, so it acquires memory for each group of infos before it queries the next.
func (c *conn) queryPathInfos(ctx context.Context, req *protocol.QueryPathInfosRequest) (*protocol.QueryPathInfosReply, error) {
	reply := new(protocol.QueryPathInfosReply)
	for some := range slices.Chunk(req.Paths, infosAtOnce) {
		before := len(reply.Infos)
		var err error
		if reply.Infos, err = c.appendInfos(ctx, reply.Infos, some); err != nil {
			return nil, err
		}
		size := int64(0)
		for i := range reply.Infos[before:] {
			size += pathInfoSize(&reply.Infos[before+i])
		}
		if err := c.acquire(c.mem.requests, size); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

// infosAtOnce is the number of paths in a group.
const infosAtOnce = 64

// appendInfos appends the infos of the valid paths. It asks an upstream daemon for all of them
// in one request, which takes one round trip.
func (c *conn) appendInfos(ctx context.Context, infos []store.PathInfo, paths []storepath.Path) ([]store.PathInfo, error) {
	many, ok := store.As[store.InfosQuerier](c.store)
	if !ok || c.upstream == nil {
		return c.appendOneByOne(ctx, infos, paths)
	}
	valid, err := c.store.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return nil, err
	}
	before := len(infos)
	for info, err := range many.QueryPathInfos(ctx, valid) {
		if errors.Is(err, store.ErrNotFound) { // a path was deleted in between
			return c.appendOneByOne(ctx, infos[:before], valid)
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, *info)
	}
	return infos, nil
}

func (c *conn) appendOneByOne(ctx context.Context, infos []store.PathInfo, paths []storepath.Path) ([]store.PathInfo, error) {
	for _, p := range paths {
		info, err := c.store.QueryPathInfo(ctx, p)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, *info)
	}
	return infos, nil
}

func (c *conn) queryDeriver(ctx context.Context, req *protocol.QueryDeriverRequest) (*protocol.OptionalPathReply, error) {
	info, err := c.store.QueryPathInfo(ctx, req.Path)
	if err != nil {
		return nil, err
	}
	return &protocol.OptionalPathReply{Path: info.Deriver}, nil
}

func (c *conn) queryReferrers(ctx context.Context, req *protocol.QueryReferrersRequest) (*protocol.PathsReply, error) {
	q, ok := store.As[store.ReferrerQuerier](c.store)
	if !ok {
		return nil, unsupportedOperation("queryReferrers")
	}
	paths, err := q.QueryReferrers(ctx, req.Path)
	return &protocol.PathsReply{Paths: paths}, err
}

// queryValidDerivers returns none if the store does not know derivers, as Nix does.
func (c *conn) queryValidDerivers(ctx context.Context, req *protocol.QueryValidDeriversRequest) (*protocol.PathsReply, error) {
	q, ok := store.As[store.DeriverQuerier](c.store)
	if !ok {
		return new(protocol.PathsReply), nil
	}
	paths, err := q.QueryValidDerivers(ctx, req.Path)
	return &protocol.PathsReply{Paths: paths}, err
}

func (c *conn) queryPathFromHashPart(ctx context.Context, req *protocol.QueryPathFromHashPartRequest) (*protocol.OptionalPathReply, error) {
	if len(req.HashPart) != storepath.HashPartLen {
		return nil, errors.New("invalid hash part")
	}
	q, ok := store.As[store.HashPartQuerier](c.store)
	if !ok {
		return nil, unsupportedOperation("queryPathFromHashPart")
	}
	path, err := q.QueryPathFromHashPart(ctx, req.HashPart)
	if errors.Is(err, store.ErrNotFound) {
		return new(protocol.OptionalPathReply), nil
	}
	return &protocol.OptionalPathReply{Path: path}, err
}

func (c *conn) queryOutputMap(ctx context.Context, req *protocol.QueryDerivationOutputMapRequest) (*protocol.QueryDerivationOutputMapReply, error) {
	outputs, err := store.OutputMap(ctx, c.store, req.Path)
	return &protocol.QueryDerivationOutputMapReply{Outputs: outputs}, err
}

// queryOutputs answers clients before 1.22. For them an output without a path is an error.
func (c *conn) queryOutputs(ctx context.Context, req *protocol.QueryDerivationOutputsRequest) (*protocol.PathsReply, error) {
	outputs, err := store.OutputMap(ctx, c.store, req.Path)
	if err != nil {
		return nil, err
	}
	var paths []storepath.Path
	for _, name := range sortedKeys(outputs) {
		if outputs[name] == "" {
			return nil, fmt.Errorf("cannot operate on output '%s' of the unbuilt derivation '%s'", name, req.Path)
		}
		paths = append(paths, outputs[name])
	}
	return &protocol.PathsReply{Paths: paths}, nil
}

func (c *conn) queryOutputNames(ctx context.Context, req *protocol.QueryDerivationOutputNamesRequest) (*protocol.QueryDerivationOutputNamesReply, error) {
	outputs, err := store.OutputMap(ctx, c.store, req.Path)
	return &protocol.QueryDerivationOutputNamesReply{Names: sortedKeys(outputs)}, err
}

// querySubstitutablePaths returns none if the store has no substituters.
func (c *conn) querySubstitutablePaths(ctx context.Context, req *protocol.QuerySubstitutablePathsRequest) (*protocol.PathsReply, error) {
	q, ok := store.As[store.SubstituteQuerier](c.store)
	if !ok {
		return new(protocol.PathsReply), nil
	}
	paths, err := q.QuerySubstitutablePaths(ctx, req.Paths)
	return &protocol.PathsReply{Paths: paths}, err
}

func (c *conn) substitutable(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	q, ok := store.As[store.SubstituteQuerier](c.store)
	if !ok {
		return nil, nil
	}
	return q.QuerySubstitutablePathInfos(ctx, paths)
}

func (c *conn) querySubstitutablePathInfo(ctx context.Context, req *protocol.QuerySubstitutablePathInfoRequest) (*protocol.QuerySubstitutablePathInfoReply, error) {
	infos, err := c.substitutable(ctx, map[storepath.Path]storepath.ContentAddress{req.Path: {}})
	reply := new(protocol.QuerySubstitutablePathInfoReply)
	if i := slices.IndexFunc(infos, func(info store.SubstitutableInfo) bool { return info.Path == req.Path }); i >= 0 {
		reply.Info = &infos[i]
	}
	return reply, err
}

func (c *conn) querySubstitutablePathInfos(ctx context.Context, req *protocol.QuerySubstitutablePathInfosRequest) (*protocol.QuerySubstitutablePathInfosReply, error) {
	infos, err := c.substitutable(ctx, req.Paths)
	return &protocol.QuerySubstitutablePathInfosReply{Infos: infos}, err
}

func (c *conn) queryMissing(ctx context.Context, req *protocol.QueryMissingRequest) (*protocol.QueryMissingReply, error) {
	q, ok := store.As[store.MissingQuerier](c.store)
	if !ok {
		return nil, unsupportedOperation("queryMissing")
	}
	missing, err := q.QueryMissing(ctx, req.Paths)
	if err != nil {
		return nil, err
	}
	for _, path := range missing.Dynamic {
		c.warn(ctx, "Ignoring dynamic derivation %s while querying missing paths; not yet implemented", path.Drv)
	}
	return &protocol.QueryMissingReply{Missing: *missing}, nil
}

// queryRealisation reports that the realisation is unknown if the store has no realisations.
func (c *conn) queryRealisation(ctx context.Context, req *protocol.QueryRealisationRequest) (*protocol.QueryRealisationReply, error) {
	if _, ok := store.As[store.RealisationStore](c.store); !ok {
		return new(protocol.QueryRealisationReply), nil
	}
	if err := c.checkDrvOutput(req.ID); err != nil {
		return nil, err
	}
	r, err := store.QueryRealisation(ctx, c.store, req.ID)
	if errors.Is(err, store.ErrNotFound) {
		return new(protocol.QueryRealisationReply), nil
	}
	if _, unnamed := errors.AsType[*store.UnnamedOutputError](err); !unnamed && c.upstream != nil && errors.Is(err, errors.ErrUnsupported) {
		c.warn(ctx, "the daemon is too old to support content-addressing derivations, please upgrade it to 2.4")
		return new(protocol.QueryRealisationReply), nil
	}
	if err != nil {
		return nil, err
	}
	return &protocol.QueryRealisationReply{Realisation: &store.KeyedRealisation{ID: req.ID, Realisation: *r}}, nil
}

// replySize returns the approximate size in bytes of a reply on the wire, or 0 if the reply
// cannot be much larger than its request. A buffer of that size does not have to grow, which
// would need several times as much memory.
func replySize(reply protocol.Reply) (n int64) {
	switch r := reply.(type) {
	case *protocol.PathsReply:
		return listSize(r.Paths)
	case *protocol.QueryPathInfoReply:
		if r.Info != nil {
			n = listSize(r.Info.References) + listSize(r.Info.Signatures)
		}
	case *protocol.QueryPathInfosReply:
		for i := range r.Infos {
			n += pathInfoSize(&r.Infos[i])
		}
	case *protocol.QueryMissingReply:
		return listSize(r.WillBuild) + listSize(r.WillSubstitute) + listSize(r.Unknown)
	case *protocol.CollectGarbageReply:
		return listSize(r.Paths)
	case *protocol.FindRootsReply:
		for _, root := range r.Roots {
			n += stringSize(len(root.Link)) + stringSize(len(root.Path))
		}
	case *protocol.QuerySubstitutablePathInfosReply:
		for _, info := range r.Infos {
			n += infoSize(&info)
		}
	case *protocol.QuerySubstitutablePathInfoReply:
		if r.Info != nil {
			n = infoSize(r.Info)
		}
	case *protocol.BuildPathsWithResultsReply:
		for _, result := range r.Results {
			n += resultSize(&result)
		}
	}
	return n
}

// listSize returns the size in bytes of the strings of a list.
func listSize[T ~string](list []T) (n int64) {
	for _, s := range list {
		n += stringSize(len(s))
	}
	return n
}

// stringSize returns the largest size in bytes of a string of this length.
func stringSize(length int) int64 { return int64(length) + 2*wire.WordSize }

// infoSize returns the size in bytes of an info of a substituter.
func infoSize(info *store.SubstitutableInfo) int64 {
	return stringSize(len(info.Path)) + stringSize(len(info.Deriver)) + listSize(info.References) + 3*wire.WordSize
}

// pathInfoSize returns the approximate size in bytes of a path info.
func pathInfoSize(info *store.PathInfo) int64 {
	const numbers, hash, contentAddress = 4 * wire.WordSize, 80, 128
	return numbers + hash + contentAddress + stringSize(len(info.Path)) + stringSize(len(info.Deriver)) + listSize(info.References) + listSize(info.Signatures)
}

// resultSize returns the approximate size in bytes of the result of a build.
func resultSize(r *store.KeyedBuildResult) int64 {
	const path, numbers, output = 128, 10 * wire.WordSize, 400
	return path + numbers + stringSize(len(r.Message)) + int64(len(r.Outputs))*output
}
