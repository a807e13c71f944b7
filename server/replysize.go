package server

import (
	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// replySize returns the approximate size in bytes of a reply on the wire, or 0 if the reply cannot be
// much larger than its request. A buffer that has this size from the beginning does not grow, which
// would take several times as much memory.
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

// listSize returns how many bytes a list of strings has.
func listSize[T ~string](list []T) (n int64) {
	for _, s := range list {
		n += stringSize(len(s))
	}
	return n
}

// stringSize returns how many bytes a string of that length has, at most.
func stringSize(length int) int64 { return int64(length) + 2*wire.WordSize }

// infoSize returns how many bytes an info of a substituter has.
func infoSize(info *store.SubstitutableInfo) int64 {
	return stringSize(len(info.Path)) + stringSize(len(info.Deriver)) + listSize(info.References) + 3*wire.WordSize
}

// pathInfoSize returns about how many bytes a path info has.
func pathInfoSize(info *store.PathInfo) int64 {
	const numbers, hash, contentAddress = 4 * wire.WordSize, 80, 128
	return numbers + hash + contentAddress + stringSize(len(info.Path)) + stringSize(len(info.Deriver)) + listSize(info.References) + listSize(info.Signatures)
}

// resultSize returns about how many bytes the result of a build has.
func resultSize(r *store.KeyedBuildResult) int64 {
	const path, numbers, output = 128, 10 * wire.WordSize, 400
	return path + numbers + stringSize(len(r.Message)) + int64(len(r.Outputs))*output
}
