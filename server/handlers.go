package server

import (
	"context"
	"maps"
	"slices"

	"pix/protocol"
)

// A handler does the work on a request.
type handler func(*conn, context.Context, protocol.Request, *body) (protocol.Reply, error)

// handlers has one for each operation. Two of them are offered only to builds.
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

// query makes a handler of a method for one type of request.
func query[Q protocol.Request, R protocol.Reply](do func(*conn, context.Context, Q) (R, error)) handler {
	return func(c *conn, ctx context.Context, req protocol.Request, _ *body) (protocol.Reply, error) {
		return do(c, ctx, req.(Q))
	}
}

// upload does the same for a request with a body.
func upload[Q protocol.Request, R protocol.Reply](do func(*conn, context.Context, Q, *body) (R, error)) handler {
	return func(c *conn, ctx context.Context, req protocol.Request, b *body) (protocol.Reply, error) {
		return do(c, ctx, req.(Q), b)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
