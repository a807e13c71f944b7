package protocol

import (
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// An IsValidPathRequest asks whether a path is valid.
type IsValidPathRequest struct{ Path storepath.Path }

// An IsValidPathReply is its reply.
type IsValidPathReply struct{ Valid bool }

func (*IsValidPathRequest) Op() Op          { return IsValidPath }
func (r *IsValidPathRequest) code(c *codec) { c.path("path", &r.Path) }
func (r *IsValidPathReply) code(c *codec)   { c.bool("valid", &r.Valid) }

// A QueryValidPathsRequest asks which of the paths are valid. Before version 1.27, setting
// Substitute is an [*UnsupportedError].
type QueryValidPathsRequest struct {
	Paths      []storepath.Path
	Substitute bool // try to substitute the other paths
}

func (*QueryValidPathsRequest) Op() Op { return QueryValidPaths }
func (r *QueryValidPathsRequest) code(c *codec) {
	c.pathSet("paths", &r.Paths)
	const since = 27
	if c.Version >= MakeVersion(since) {
		c.bool("substitute", &r.Substitute)
	} else if c.encoding() && r.Substitute {
		c.fail("substitute", &UnsupportedError{What: "substituting in a query for valid paths", Have: c.Version, Since: MakeVersion(since)})
	}
}

// A PathsReply holds paths, sorted and without duplicates.
type PathsReply struct{ Paths []storepath.Path }

func (r *PathsReply) code(c *codec) { c.pathSet("paths", &r.Paths) }

// A QueryAllValidPathsRequest asks for all valid paths.
type QueryAllValidPathsRequest struct{}

func (*QueryAllValidPathsRequest) Op() Op      { return QueryAllValidPaths }
func (*QueryAllValidPathsRequest) code(*codec) {}

// A QueryPathInfoRequest asks for the path info of a path.
type QueryPathInfoRequest struct{ Path storepath.Path }

// A QueryPathInfoReply holds the path info, or nil if the path is not valid. Info.Path is not
// sent: it is the path of the request.
type QueryPathInfoReply struct{ Info *store.PathInfo }

func (*QueryPathInfoRequest) Op() Op          { return QueryPathInfo }
func (r *QueryPathInfoRequest) code(c *codec) { c.path("path", &r.Path) }
func (r *QueryPathInfoReply) code(c *codec) {
	valid := r.Info != nil
	c.bool("valid", &valid)
	if !c.encoding() {
		r.Info = nil
		if valid && c.err == nil {
			r.Info = new(store.PathInfo)
		}
	}
	if r.Info != nil {
		c.pathInfo(r.Info)
	}
}

// A QueryPathInfosRequest asks for the path infos of many paths.
type QueryPathInfosRequest struct{ Paths []storepath.Path }

// A QueryPathInfosReply holds the path infos of the valid paths, in any order.
type QueryPathInfosReply struct {
	Infos []store.PathInfo
	limit uint64 // see Limit
}

// Limit limits the number of path infos that may be read. A client sets it to the number of
// paths in its request, so that a daemon cannot send infos forever.
func (r *QueryPathInfosReply) Limit(n int) { r.limit = uint64(n) }

func (*QueryPathInfosRequest) Op() Op          { return QueryPathInfos }
func (r *QueryPathInfosRequest) code(c *codec) { c.pathSet("paths", &r.Paths) }
func (r *QueryPathInfosReply) code(c *codec) {
	limit := uint64(MaxList)
	if r.limit > 0 {
		limit = r.limit
	}
	limitedList(c, "info", &r.Infos, limit, c.keyedPathInfo)
}

// A QueryReferrersRequest asks for the valid paths that refer to a path.
type QueryReferrersRequest struct{ Path storepath.Path }

func (*QueryReferrersRequest) Op() Op          { return QueryReferrers }
func (r *QueryReferrersRequest) code(c *codec) { c.path("path", &r.Path) }

// A QueryValidDeriversRequest asks for the valid derivations that have the path as an output.
type QueryValidDeriversRequest struct{ Path storepath.Path }

func (*QueryValidDeriversRequest) Op() Op          { return QueryValidDerivers }
func (r *QueryValidDeriversRequest) code(c *codec) { c.path("path", &r.Path) }

// A QueryDeriverRequest asks for the deriver of a path. [QueryPathInfoRequest] asks for that
// and more. A daemon fails if the path is not valid.
type QueryDeriverRequest struct{ Path storepath.Path }

func (*QueryDeriverRequest) Op() Op          { return QueryDeriver }
func (r *QueryDeriverRequest) code(c *codec) { c.path("path", &r.Path) }

// A QueryPathFromHashPartRequest asks for the valid path with a hash part of
// [storepath.HashPartLen] characters.
type QueryPathFromHashPartRequest struct{ HashPart string }

func (*QueryPathFromHashPartRequest) Op() Op          { return QueryPathFromHashPart }
func (r *QueryPathFromHashPartRequest) code(c *codec) { c.name("hash part", &r.HashPart) }

// An OptionalPathReply holds a path, or "" for none.
type OptionalPathReply struct{ Path storepath.Path }

func (r *OptionalPathReply) code(c *codec) { c.optionalPath("path", &r.Path) }

// A QueryDerivationOutputsRequest asks for the output paths of a derivation, without their
// names. Since version 1.22 [QueryDerivationOutputMapRequest] replaces it.
type QueryDerivationOutputsRequest struct{ Path storepath.Path }

func (*QueryDerivationOutputsRequest) Op() Op          { return QueryDerivationOutputs }
func (r *QueryDerivationOutputsRequest) code(c *codec) { c.path("path", &r.Path) }

// A QueryDerivationOutputMapRequest asks for the outputs of a derivation.
type QueryDerivationOutputMapRequest struct{ Path storepath.Path }

// A QueryDerivationOutputMapReply maps output names to paths, or to "" if the path is unknown.
type QueryDerivationOutputMapReply struct{ Outputs map[string]storepath.Path }

func (*QueryDerivationOutputMapRequest) Op() Op          { return QueryDerivationOutputMap }
func (r *QueryDerivationOutputMapRequest) code(c *codec) { c.path("path", &r.Path) }
func (r *QueryDerivationOutputMapReply) code(c *codec) {
	mapping(c, "outputs", &r.Outputs, func(e *entry[string, storepath.Path]) {
		c.name("name", &e.key)
		c.optionalPath("path", &e.value)
	})
}

// A QueryDerivationOutputNamesRequest asks for the output names of a derivation. Since version
// 1.22 [QueryDerivationOutputMapRequest] replaces it.
type QueryDerivationOutputNamesRequest struct{ Path storepath.Path }

// A QueryDerivationOutputNamesReply holds the names, sorted.
type QueryDerivationOutputNamesReply struct{ Names []string }

func (*QueryDerivationOutputNamesRequest) Op() Op          { return QueryDerivationOutputNames }
func (r *QueryDerivationOutputNamesRequest) code(c *codec) { c.path("path", &r.Path) }
func (r *QueryDerivationOutputNamesReply) code(c *codec)   { c.stringSet("names", &r.Names) }

// A QuerySubstitutablePathsRequest asks which of the paths the substituters have.
type QuerySubstitutablePathsRequest struct{ Paths []storepath.Path }

func (*QuerySubstitutablePathsRequest) Op() Op          { return QuerySubstitutablePaths }
func (r *QuerySubstitutablePathsRequest) code(c *codec) { c.pathSet("paths", &r.Paths) }

// A QuerySubstitutablePathInfoRequest asks the substituters about a path.
type QuerySubstitutablePathInfoRequest struct{ Path storepath.Path }

// A QuerySubstitutablePathInfoReply holds the first answer, or nil if no substituter has the
// path. Info.Path is not sent: it is the path of the request.
type QuerySubstitutablePathInfoReply struct{ Info *store.SubstitutableInfo }

func (*QuerySubstitutablePathInfoRequest) Op() Op          { return QuerySubstitutablePathInfo }
func (r *QuerySubstitutablePathInfoRequest) code(c *codec) { c.path("path", &r.Path) }
func (r *QuerySubstitutablePathInfoReply) code(c *codec) {
	found := r.Info != nil
	c.bool("found", &found)
	if !c.encoding() {
		r.Info = nil
		if found && c.err == nil {
			r.Info = new(store.SubstitutableInfo)
		}
	}
	if r.Info != nil {
		c.substitutableInfo(r.Info)
	}
}

// A QuerySubstitutablePathInfosRequest asks the substituters about paths. The value of each
// path is its content address, or the zero value. With a content address a daemon can also ask
// a substituter that has another store directory. Before version 1.22 a content address is an
// [*UnsupportedError].
type QuerySubstitutablePathInfosRequest struct {
	Paths map[storepath.Path]storepath.ContentAddress
}

// A QuerySubstitutablePathInfosReply holds the infos of the paths that a substituter has.
type QuerySubstitutablePathInfosReply struct{ Infos []store.SubstitutableInfo }

func (*QuerySubstitutablePathInfosRequest) Op() Op { return QuerySubstitutablePathInfos }
func (r *QuerySubstitutablePathInfosRequest) code(c *codec) {
	const since = 22
	if c.Version < MakeVersion(since) {
		r.codeOld(c, MakeVersion(since))
		return
	}
	mapping(c, "paths", &r.Paths, func(e *entry[storepath.Path, storepath.ContentAddress]) {
		c.path("path", &e.key)
		c.optionalContentAddress("content address", &e.value)
	})
}

// codeOld codes the paths without content addresses, for versions before since.
func (r *QuerySubstitutablePathInfosRequest) codeOld(c *codec, since Version) {
	var paths []storepath.Path
	for path, ca := range r.Paths {
		if c.encoding() && !ca.IsZero() {
			c.fail("paths", &UnsupportedError{What: "asking substituters by content address", Have: c.Version, Since: since})
		}
		paths = append(paths, path)
	}
	c.pathSet("paths", &paths)
	if c.encoding() {
		return
	}
	r.Paths = make(map[storepath.Path]storepath.ContentAddress, len(paths))
	for _, path := range paths {
		r.Paths[path] = storepath.ContentAddress{}
	}
}

func (r *QuerySubstitutablePathInfosReply) code(c *codec) {
	list(c, "infos", &r.Infos, func(info *store.SubstitutableInfo) {
		c.path("path", &info.Path)
		c.substitutableInfo(info)
	})
}

// substitutableInfo codes Nix's SubstitutablePathInfo.
func (c *codec) substitutableInfo(info *store.SubstitutableInfo) {
	c.optionalPath("deriver", &info.Deriver)
	c.pathSet("references", &info.References)
	c.uint64("download size", &info.DownloadSize)
	c.uint64("NAR size", &info.NARSize)
}

// A QueryMissingRequest asks what the daemon would build and substitute to make paths valid.
type QueryMissingRequest struct{ Paths []derivation.DerivedPath }

// A QueryMissingReply is its reply.
type QueryMissingReply struct{ store.Missing }

func (*QueryMissingRequest) Op() Op          { return QueryMissing }
func (r *QueryMissingRequest) code(c *codec) { list(c, "paths", &r.Paths, c.derivedPath) }
func (r *QueryMissingReply) code(c *codec) {
	c.pathSet("will build", &r.WillBuild)
	c.pathSet("will substitute", &r.WillSubstitute)
	c.pathSet("unknown", &r.Unknown)
	c.uint64("download size", &r.DownloadSize)
	c.uint64("NAR size", &r.NARSize)
}
