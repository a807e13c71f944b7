package server

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"pix/internal/unsupported"
	"pix/protocol"
	"pix/store"
)

// A handler does the work on a request and returns the reply.
type handler func(*conn, context.Context, protocol.Request, *body) (protocol.Reply, error)

// handlers has a handler for each operation. Two of the operations are offered only to builds.
var handlers = map[protocol.Op]handler{
	protocol.IsValidPath:                 query((*conn).isValidPath),
	protocol.QueryValidPaths:             query((*conn).queryValidPaths),
	protocol.QueryAllValidPaths:          query((*conn).queryAllValidPaths),
	protocol.QueryPathInfo:               query((*conn).queryPathInfo),
	protocol.QueryPathInfos:              query((*conn).queryPathInfos),
	protocol.QueryDeriver:                query((*conn).queryDeriver),
	protocol.QueryReferrers:              query((*conn).queryReferrers),
	protocol.QueryValidDerivers:          query((*conn).queryValidDerivers),
	protocol.QueryPathFromHashPart:       query((*conn).queryPathFromHashPart),
	protocol.QueryDerivationOutputMap:    query((*conn).queryOutputMap),
	protocol.QueryDerivationOutputs:      query((*conn).queryOutputs),
	protocol.QueryDerivationOutputNames:  query((*conn).queryOutputNames),
	protocol.QuerySubstitutablePaths:     query((*conn).querySubstitutablePaths),
	protocol.QuerySubstitutablePathInfo:  query((*conn).querySubstitutablePathInfo),
	protocol.QuerySubstitutablePathInfos: query((*conn).querySubstitutablePathInfos),
	protocol.QueryMissing:                query((*conn).queryMissing),
	protocol.QueryRealisation:            query((*conn).queryRealisation),
	protocol.QueryActiveBuilds:           query((*conn).queryActiveBuilds),

	protocol.AddToStore:         upload((*conn).addToStore),
	protocol.AddTextToStore:     query((*conn).addTextToStore),
	protocol.AddToStoreNar:      upload((*conn).addToStoreNAR),
	protocol.AddMultipleToStore: upload((*conn).addMultipleToStore),
	protocol.AddToStoreScanning: upload((*conn).addToStoreScanning),
	protocol.AddBuildLog:        upload((*conn).addBuildLog),
	protocol.AddSignatures:      query((*conn).addSignatures),
	protocol.RegisterDrvOutput:  query((*conn).registerDrvOutput),
	protocol.NarFromPath:        query((*conn).narFromPath),

	protocol.BuildPaths:            query((*conn).buildPaths),
	protocol.BuildPathsWithResults: query((*conn).buildPathsWithResults),
	protocol.BuildDerivation:       query((*conn).buildDerivation),
	protocol.EnsurePath:            query((*conn).ensurePath),
	protocol.SubmitOutput:          query((*conn).submitOutput),

	protocol.AddTempRoot:     query((*conn).addTempRoot),
	protocol.AddTempRoots:    query((*conn).addTempRoots),
	protocol.AddIndirectRoot: query((*conn).addIndirectRoot),
	protocol.AddPermRoot:     query((*conn).addPermRoot),
	protocol.FindRoots:       query((*conn).findRoots),
	protocol.CollectGarbage:  query((*conn).collectGarbage),
	protocol.SyncWithGC:      query((*conn).syncWithGC),
	protocol.OptimiseStore:   query((*conn).optimiseStore),
	protocol.VerifyStore:     query((*conn).verifyStore),
	protocol.SetOptions:      query((*conn).setOptions),
}

// query returns a handler that calls a method for one type of request.
func query[Q protocol.Request, R protocol.Reply](method func(*conn, context.Context, Q) (R, error)) handler {
	return func(c *conn, ctx context.Context, req protocol.Request, _ *body) (protocol.Reply, error) {
		return method(c, ctx, req.(Q))
	}
}

// upload does the same for a request with a body.
func upload[Q protocol.Request, R protocol.Reply](method func(*conn, context.Context, Q, *body) (R, error)) handler {
	return func(c *conn, ctx context.Context, req protocol.Request, b *body) (protocol.Reply, error) {
		return method(c, ctx, req.(Q), b)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// addTempRoot does nothing if the store does not collect garbage.
func (c *conn) addTempRoot(ctx context.Context, req *protocol.AddTempRootRequest) (*protocol.Ack, error) {
	if r, ok := store.As[store.TempRooter](c.store); ok {
		if err := c.countTempRoots(1); err != nil {
			return nil, err
		}
		return new(protocol.Ack), r.AddTempRoot(ctx, req.Path)
	}
	return new(protocol.Ack), nil
}

// addTempRoots does the same for many paths. Clients of Determinate Nix call it before they
// copy paths.
func (c *conn) addTempRoots(ctx context.Context, req *protocol.AddTempRootsRequest) (*protocol.Ack, error) {
	if _, ok := store.As[store.TempRooter](c.store); ok {
		if err := c.countTempRoots(len(req.Paths)); err != nil {
			return nil, err
		}
	}
	return new(protocol.Ack), store.AddTempRoots(ctx, c.store, req.Paths)
}

func (c *conn) rooter(what string) (store.Rooter, error) {
	if r, ok := store.As[store.Rooter](c.store); ok {
		return r, nil
	}
	return nil, unsupported.Errorf("%s not supported by this store", what)
}

func (c *conn) addIndirectRoot(ctx context.Context, req *protocol.AddIndirectRootRequest) (*protocol.Ack, error) {
	r, err := c.rooter("Indirect GC roots registration")
	if err != nil {
		return nil, err
	}
	link, err := cleanLink(req.Link)
	if err != nil {
		return nil, err
	}
	return new(protocol.Ack), r.AddIndirectRoot(ctx, link)
}

// cleanLink returns the name of a root without "." and "..". A relative name is an error: it
// would be relative to the working directory of the server, which the client does not know.
func cleanLink(link string) (string, error) {
	if !filepath.IsAbs(link) {
		return "", fmt.Errorf("the name of a root must be absolute, but '%s' is not", link)
	}
	return filepath.Clean(link), nil
}

func (c *conn) addPermRoot(ctx context.Context, req *protocol.AddPermRootRequest) (*protocol.AddPermRootReply, error) {
	r, err := c.rooter("Local Filesystem Store")
	if err != nil {
		return nil, err
	}
	link, err := cleanLink(req.Link)
	if err != nil {
		return nil, err
	}
	if c.opts.LocalRoots {
		link, err = store.AddRoot(ctx, c.store, link, req.Path)
	} else {
		link, err = r.AddPermRoot(ctx, req.Path, link)
	}
	return &protocol.AddPermRootReply{Link: link}, err
}

func (c *conn) findRoots(ctx context.Context, _ *protocol.FindRootsRequest) (*protocol.FindRootsReply, error) {
	r, err := c.rooter("Garbage collection")
	if err != nil {
		return nil, err
	}
	roots, err := r.FindRoots(ctx)
	if err != nil || c.privileged {
		return &protocol.FindRootsReply{Roots: roots}, err
	}
	shown, seen := make([]store.Root, 0, len(roots)), make(map[store.Root]bool)
	for _, root := range roots {
		if isRuntimeRoot(root) {
			root.Link = "{censored}"
		}
		if !seen[root] {
			seen[root] = true
			shown = append(shown, root)
		}
	}
	return &protocol.FindRootsReply{Roots: shown}, nil
}

// isRuntimeRoot reports whether a root belongs to a process. Such roots show what other users
// run.
func isRuntimeRoot(root store.Root) bool {
	return strings.HasPrefix(root.Link, "{") || strings.HasPrefix(root.Link, "/proc/")
}

func (c *conn) collectGarbage(ctx context.Context, req *protocol.CollectGarbageRequest) (*protocol.CollectGarbageReply, error) {
	g, ok := store.As[store.Collector](c.store)
	if !ok {
		return nil, unsupported.Errorf("Garbage collection not supported by this store")
	}
	result, err := g.CollectGarbage(ctx, req.GCOptions)
	if err != nil {
		return nil, err
	}
	return &protocol.CollectGarbageReply{GCResult: *result}, nil
}

// syncWithGC does nothing, as in Nix since 2.4.
func (c *conn) syncWithGC(context.Context, *protocol.SyncWithGCRequest) (*protocol.Ack, error) {
	return new(protocol.Ack), nil
}

func (c *conn) optimiseStore(ctx context.Context, _ *protocol.OptimiseStoreRequest) (*protocol.Ack, error) {
	if o, ok := store.As[store.Optimiser](c.store); ok {
		return new(protocol.Ack), o.OptimiseStore(ctx)
	}
	return new(protocol.Ack), nil
}

// verifyStore reports no errors if the store cannot verify itself.
func (c *conn) verifyStore(ctx context.Context, req *protocol.VerifyStoreRequest) (*protocol.VerifyStoreReply, error) {
	v, ok := store.As[store.Verifier](c.store)
	if !ok {
		return new(protocol.VerifyStoreReply), nil
	}
	remain, err := v.VerifyStore(ctx, req.CheckContents, req.Repair)
	return &protocol.VerifyStoreReply{Errors: remain}, err
}
