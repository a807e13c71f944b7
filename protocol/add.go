package protocol

import (
	"fmt"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An AddTextToStoreRequest adds a text, as builtins.toFile does. From 1.25 on
// [AddToStoreRequest] can do the same.
type AddTextToStoreRequest struct {
	Name       string
	Contents   string
	References []storepath.Path
}

// A PathReply holds the path that was added.
type PathReply struct{ Path storepath.Path }

func (*AddTextToStoreRequest) Op() Op { return AddTextToStore }
func (r *AddTextToStoreRequest) code(c *codec) {
	c.name("name", &r.Name)
	c.string("contents", &r.Contents)
	c.pathSet("references", &r.References)
}

func (r *PathReply) code(c *codec) { c.path("path", &r.Path) }

// framedAdd is the version from which AddToStore takes any content address and its
// contents come in frames.
var framedAdd = MakeVersion(25)

// An AddToStoreRequest adds an object by its contents. From 1.25 on they follow in
// frames: the file itself for Text and Flat, else its NAR. Before, a NAR follows as it
// is, there are no references, and Method is NAR or Flat.
type AddToStoreRequest struct {
	Name       string
	Method     storepath.Method
	Algorithm  nixhash.Algorithm
	References []storepath.Path
	Repair     bool
}

// An AddToStoreReply holds what was added: only its path before 1.25.
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
		c.fail(field, -1, fmt.Errorf("%s and %s", *m, *a))
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

// codeOld codes the request as before 1.25. NAR with SHA-256 is sent as not fixed, which
// is how the oldest daemons knew a source.
func (r *AddToStoreRequest) codeOld(c *codec) {
	source := r.Method == storepath.NAR && r.Algorithm == nixhash.SHA256
	if c.encoding() {
		c.fail("method and algorithm", -1, r.checkOld(c))
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
	if !fixed { // the rest counts for nothing
		r.Method, r.Algorithm = storepath.NAR, nixhash.SHA256
	}
}

// checkOld returns why the request cannot be sent before 1.25, or nil.
func (r *AddToStoreRequest) checkOld(c *codec) error {
	if r.Repair || len(r.References) > 0 || r.Method != storepath.NAR && r.Method != storepath.Flat {
		return &UnsupportedError{What: fmt.Sprintf("adding by method %s, with references or with repair", r.Method), Have: c.Version, Since: framedAdd}
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

// An AddToStoreNarRequest adds an object with all that is known of it. Its archive
// follows: as [Operation.Body] says in frames, in strings when it is asked for, or as it
// is. What the daemon does not believe of a user that it does not trust, Ultimate and
// DontCheckSigs, it passes over.
type AddToStoreNarRequest struct {
	Info          store.PathInfo
	Repair        bool // add it again if it is valid
	DontCheckSigs bool
}

func (*AddToStoreNarRequest) Op() Op { return AddToStoreNar }
func (r *AddToStoreNarRequest) code(c *codec) {
	c.keyedPathInfo(&r.Info)
	c.bool("repair", &r.Repair)
	c.bool("don't check signatures", &r.DontCheckSigs)
}

// An AddMultipleToStoreRequest adds objects with all that is known of them. In frames
// follow their number ([wire.AppendUint64]), and for each of them its path info
// ([Params.AppendPathInfo]) and its archive. An object must come after those that it
// refers to. The daemon passes Ultimate over, and DontCheckSigs of a user that it does not
// trust.
type AddMultipleToStoreRequest struct {
	Repair        bool // add again what is valid
	DontCheckSigs bool
}

func (*AddMultipleToStoreRequest) Op() Op { return AddMultipleToStore }
func (r *AddMultipleToStoreRequest) code(c *codec) {
	c.bool("repair", &r.Repair)
	c.bool("don't check signatures", &r.DontCheckSigs)
}

// An AddToStoreScanningRequest adds an object during a build; the daemon looks itself for
// references. In frames follow the file itself for Text and Flat, else its NAR. It needs the
// feature [Scanning].
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

// An AddSignaturesRequest adds signatures to a valid path. Before 1.35 only a trusted user
// may ask; at 1.35, which Nix 2.15 to 2.19 speak, that depends on the daemon.
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

// An AddBuildLogRequest adds the log of a derivation, which follows in frames. Only a
// trusted user may ask; a daemon that refuses takes the frames for the next operation.
type AddBuildLogRequest struct{ Path storepath.Path }

func (*AddBuildLogRequest) Op() Op          { return AddBuildLog }
func (r *AddBuildLogRequest) code(c *codec) { c.baseName("path", &r.Path) }

// A NarFromPathRequest asks for the archive of a path. It follows the reply as it is. A
// daemon that fails to make it says so in its midst.
type NarFromPathRequest struct{ Path storepath.Path }

func (*NarFromPathRequest) Op() Op          { return NarFromPath }
func (r *NarFromPathRequest) code(c *codec) { c.path("path", &r.Path) }
