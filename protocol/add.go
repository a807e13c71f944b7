package protocol

import (
	"fmt"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An AddTextToStoreRequest adds a text file, as builtins.toFile does. From version 1.25 on
// [AddToStoreRequest] can add it too.
type AddTextToStoreRequest struct {
	Name       string
	Contents   string
	References []storepath.Path
}

// A PathReply holds the path of the added object.
type PathReply struct{ Path storepath.Path }

func (*AddTextToStoreRequest) Op() Op { return AddTextToStore }
func (r *AddTextToStoreRequest) code(c *codec) {
	c.name("name", &r.Name)
	c.string("contents", &r.Contents)
	c.pathSet("references", &r.References)
}

func (r *PathReply) code(c *codec) { c.path("path", &r.Path) }

// framedAdd is the first version in which AddToStore accepts every content address, and its
// contents follow in frames.
var framedAdd = MakeVersion(25)

// An AddToStoreRequest adds an object with a content address. From version 1.25 on its contents
// follow in frames: the plain file for Text and Flat, otherwise its NAR. In older versions an
// unframed NAR follows, References is empty, and Method is NAR or Flat.
type AddToStoreRequest struct {
	Name       string
	Method     storepath.Method
	Algorithm  nixhash.Algorithm
	References []storepath.Path
	Repair     bool
}

// An AddToStoreReply holds the path info of the added object. Before 1.25 it holds only the
// path.
type AddToStoreReply struct{ Info store.PathInfo }

func (*AddToStoreRequest) Op() Op { return AddToStore }
func (r *AddToStoreRequest) code(c *codec) {
	c.name("name", &r.Name)
	if c.Version < framedAdd {
		r.codeOld(c)
		return
	}
	c.methodAlgorithm(&r.Method, &r.Algorithm)
	c.pathSet("references", &r.References)
	c.bool("repair", &r.Repair)
}

type contentMethod struct {
	method    storepath.Method
	algorithm nixhash.Algorithm
}

// methodAlgorithm codes a content address without its digest.
func (c *codec) methodAlgorithm(m *storepath.Method, a *nixhash.Algorithm) {
	const field = "method and algorithm"
	if c.encoding() && !(m.IsValid() && a.IsValid()) {
		c.fail(field, fmt.Errorf("%s and %s", *m, *a))
	}
	how := contentMethod{*m, *a}
	text(c, field, &how, func(h contentMethod) string {
		return storepath.FormatMethodAlgorithm(h.method, h.algorithm)
	}, parseContentMethod)
	if !c.encoding() {
		*m, *a = how.method, how.algorithm
	}
}

func parseContentMethod(s string) (h contentMethod, err error) {
	h.method, h.algorithm, err = storepath.ParseMethodAlgorithm(s)
	return h, err
}

// codeOld codes the request of versions before 1.25. It sends NAR with SHA-256 as "not fixed",
// since the oldest daemons add a source in this way.
func (r *AddToStoreRequest) codeOld(c *codec) {
	source := r.Method == storepath.NAR && r.Algorithm == nixhash.SHA256
	if c.encoding() {
		c.fail("method and algorithm", r.checkOld(c))
	}
	fixed, recursive, algorithm := !source, r.Method == storepath.NAR, r.Algorithm
	c.bool("fixed", &fixed)
	c.bool("recursive", &recursive)
	text(c, "algorithm", &algorithm, nixhash.Algorithm.String, nixhash.ParseAlgorithm)
	if c.encoding() {
		return
	}
	r.Method, r.Algorithm = storepath.Flat, algorithm
	if recursive {
		r.Method = storepath.NAR
	}
	r.References, r.Repair = nil, false
	if !fixed { // the other fields have no meaning then
		r.Method, r.Algorithm = storepath.NAR, nixhash.SHA256
	}
}

// checkOld returns an error if versions before 1.25 cannot express the request.
func (r *AddToStoreRequest) checkOld(c *codec) error {
	if r.Repair || len(r.References) > 0 || r.Method != storepath.NAR && r.Method != storepath.Flat {
		return &UnsupportedError{What: fmt.Sprintf("adding with method %s, with references or with repair", r.Method), Have: c.Version, Since: framedAdd}
	}
	if !r.Algorithm.IsValid() {
		return fmt.Errorf("%s and %s", r.Method, r.Algorithm)
	}
	return nil
}

func (r *AddToStoreReply) code(c *codec) {
	if c.Version < framedAdd {
		c.path("path", &r.Info.Path)
		return
	}
	c.keyedPathInfo(&r.Info)
}

// An AddToStoreNarRequest adds an object with a given path info. Its archive follows.
// [Operation.Body] says how: in frames, in strings that the daemon asks for, or unframed. For a
// user that it does not trust, the daemon ignores Info.Ultimate and DontCheckSigs.
type AddToStoreNarRequest struct {
	Info          store.PathInfo
	Repair        bool // replace the object if it is valid
	DontCheckSigs bool
}

func (*AddToStoreNarRequest) Op() Op { return AddToStoreNar }
func (r *AddToStoreNarRequest) code(c *codec) {
	c.keyedPathInfo(&r.Info)
	c.bool("repair", &r.Repair)
	c.bool("don't check signatures", &r.DontCheckSigs)
}

// An AddMultipleToStoreRequest adds objects with given path infos. The frames that follow
// contain the number of objects ([wire.AppendUint64]), then the path info
// ([Params.AppendPathInfo]) and the archive of each object. An object must come after the
// objects that it refers to. The daemon ignores Ultimate. For a user that it does not trust, it
// also ignores DontCheckSigs.
type AddMultipleToStoreRequest struct {
	Repair        bool // replace objects that are valid
	DontCheckSigs bool
}

func (*AddMultipleToStoreRequest) Op() Op { return AddMultipleToStore }
func (r *AddMultipleToStoreRequest) code(c *codec) {
	c.bool("repair", &r.Repair)
	c.bool("don't check signatures", &r.DontCheckSigs)
}

// An AddToStoreScanningRequest adds an object during a build. The daemon itself scans the
// contents for references. They follow in frames: the plain file for Text and Flat, otherwise
// its NAR. The request needs the feature [Scanning].
type AddToStoreScanningRequest struct {
	Name      string
	Method    storepath.Method
	Algorithm nixhash.Algorithm
}

func (*AddToStoreScanningRequest) Op() Op { return AddToStoreScanning }
func (r *AddToStoreScanningRequest) code(c *codec) {
	c.name("name", &r.Name)
	c.methodAlgorithm(&r.Method, &r.Algorithm)
}

// An AddSignaturesRequest adds signatures to a valid path. Before version 1.35 only a trusted
// user may do this. Nix 2.15 to 2.19 all speak 1.35; some of them require trust and some do
// not.
type AddSignaturesRequest struct {
	Path       storepath.Path
	Signatures []string
}

func (*AddSignaturesRequest) Op() Op { return AddSignatures }
func (r *AddSignaturesRequest) code(c *codec) {
	c.path("path", &r.Path)
	c.stringSet("signatures", &r.Signatures)
}
func (r *AddSignaturesRequest) needsTrust(p Params) bool { return p.Version < MakeVersion(35) }

// An AddBuildLogRequest adds the build log of a derivation, which follows in frames. Only a
// trusted user may do this. A daemon that refuses the request reads the frames as the next
// operations.
type AddBuildLogRequest struct{ Path storepath.Path }

func (*AddBuildLogRequest) Op() Op          { return AddBuildLog }
func (r *AddBuildLogRequest) code(c *codec) { c.baseName("path", &r.Path) }

// A NarFromPathRequest asks for the archive of a path. It follows the reply, unframed. A daemon
// that cannot read the object sends its error in the middle of the archive.
type NarFromPathRequest struct{ Path storepath.Path }

func (*NarFromPathRequest) Op() Op          { return NarFromPath }
func (r *NarFromPathRequest) code(c *codec) { c.path("path", &r.Path) }
