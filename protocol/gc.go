package protocol

import (
	"errors"

	"pix/store"
	"pix/storepath"
)

// An EnsurePathRequest makes a path valid, by substitution, or fails.
type EnsurePathRequest struct{ Path storepath.Path }

func (*EnsurePathRequest) Op() Op          { return EnsurePath }
func (r *EnsurePathRequest) code(c *codec) { c.path("path", &r.Path) }

// An AddTempRootRequest keeps a path from being collected as long as the connection is
// open. The path need not be valid yet.
type AddTempRootRequest struct{ Path storepath.Path }

func (*AddTempRootRequest) Op() Op          { return AddTempRoot }
func (r *AddTempRootRequest) code(c *codec) { c.path("path", &r.Path) }

// An AddTempRootsRequest does the same for many paths.
type AddTempRootsRequest struct{ Paths []storepath.Path }

func (*AddTempRootsRequest) Op() Op          { return AddTempRoots }
func (r *AddTempRootsRequest) code(c *codec) { c.pathSet("paths", &r.Paths) }

// An AddIndirectRootRequest tells the daemon of a symlink, anywhere in its file system: as
// long as it is there, what it points to is not collected.
type AddIndirectRootRequest struct{ Link string }

func (*AddIndirectRootRequest) Op() Op          { return AddIndirectRoot }
func (r *AddIndirectRootRequest) code(c *codec) { c.name("link", &r.Link) }

// An AddPermRootRequest makes the daemon make a symlink to a path, and an indirect root of
// it. Only a trusted user may ask.
type AddPermRootRequest struct {
	Path storepath.Path
	Link string // absolute, in the daemon's file system
}

// An AddPermRootReply holds the name of the symlink, made absolute and clean.
type AddPermRootReply struct{ Link string }

func (*AddPermRootRequest) Op() Op { return AddPermRoot }
func (r *AddPermRootRequest) code(c *codec) {
	c.path("path", &r.Path)
	c.name("link", &r.Link)
}
func (r *AddPermRootReply) code(c *codec) { c.name("link", &r.Link) }

// A SyncWithGCRequest once waited for a running collection. It does nothing since Nix 2.4.
type SyncWithGCRequest struct{}

func (*SyncWithGCRequest) Op() Op      { return SyncWithGC }
func (*SyncWithGCRequest) code(*codec) {}

// A FindRootsRequest asks what keeps which paths from being collected.
type FindRootsRequest struct{}

// A FindRootsReply answers it, in any order.
type FindRootsReply struct{ Roots []store.Root }

func (*FindRootsRequest) Op() Op      { return FindRoots }
func (*FindRootsRequest) code(*codec) {}
func (r *FindRootsReply) code(c *codec) {
	list(c, "roots", &r.Roots, func(root *store.Root) {
		c.name("link", &root.Link)
		c.path("path", &root.Path)
	})
}

// A CollectGarbageRequest collects garbage. Without [DeleteDeadSpecificReferrers] only
// [store.GCDeleteSpecific] may have Paths, and nothing DeleteReferrers: anything else is
// an [*UnsupportedError].
type CollectGarbageRequest struct{ store.GCOptions }

// A CollectGarbageReply says what was found or done.
type CollectGarbageReply struct{ store.GCResult }

func (*CollectGarbageRequest) Op() Op { return CollectGarbage }
func (r *CollectGarbageRequest) code(c *codec) {
	number(c, "action", &r.Action, uint64(store.GCDeleteSpecific))
	if c.Features.Has(DeleteDeadSpecificReferrers) {
		r.codePaths(c)
	} else {
		r.codePathsOld(c)
	}
	c.bool("ignore liveness", &r.IgnoreLiveness)
	c.uint64("max freed", &r.MaxFreed)
	for range 3 {
		c.obsolete("obsolete", 0)
	}
}

// codePaths codes whether the whole store is meant, or which paths.
func (r *CollectGarbageRequest) codePaths(c *codec) {
	whole := r.Paths == nil
	c.tag("whole store", &whole)
	switch {
	case whole && c.encoding():
		if r.DeleteReferrers {
			c.fail("delete referrers", -1, errors.New("referrers of what? the whole store is meant"))
		}
	case whole:
		r.Paths, r.DeleteReferrers = nil, false
	default:
		c.pathSet("paths", &r.Paths)
		if !c.encoding() && r.Paths == nil {
			r.Paths = []storepath.Path{}
		}
		c.bool("delete referrers", &r.DeleteReferrers)
	}
}

// codePathsOld codes the paths that are to be deleted.
func (r *CollectGarbageRequest) codePathsOld(c *codec) {
	specific := r.Action == store.GCDeleteSpecific
	if c.encoding() && (r.DeleteReferrers || !specific && r.Paths != nil) {
		c.fail("paths", -1, &UnsupportedError{What: "collecting garbage among given paths and their referrers", Have: c.Version, Feature: DeleteDeadSpecificReferrers})
		return
	}
	at := c.offset()
	c.pathSet("paths", &r.Paths)
	if c.encoding() {
		return
	}
	r.DeleteReferrers = false
	if specific && r.Paths == nil {
		r.Paths = []storepath.Path{}
	}
	if !specific && r.Paths != nil {
		c.fail("paths", at, errors.New("only delete-specific is about given paths"))
	}
}

func (r *CollectGarbageReply) code(c *codec) {
	list(c, "paths", &r.Paths, func(p *string) { c.name("path", p) })
	c.uint64("bytes freed", &r.BytesFreed)
	c.obsolete("obsolete", 0)
}

// An OptimiseStoreRequest replaces equal files in the store by hard links.
type OptimiseStoreRequest struct{}

func (*OptimiseStoreRequest) Op() Op      { return OptimiseStore }
func (*OptimiseStoreRequest) code(*codec) {}

// A VerifyStoreRequest checks that valid paths are there and, if CheckContents, that they
// have not changed. Only a trusted user may ask for Repair.
type VerifyStoreRequest struct{ CheckContents, Repair bool }

// A VerifyStoreReply says whether errors were found that are still there.
type VerifyStoreReply struct{ Errors bool }

func (*VerifyStoreRequest) Op() Op { return VerifyStore }
func (r *VerifyStoreRequest) code(c *codec) {
	c.bool("check contents", &r.CheckContents)
	c.bool("repair", &r.Repair)
}
func (r *VerifyStoreRequest) needsTrust(Params) bool { return r.Repair }
func (r *VerifyStoreReply) code(c *codec)            { c.bool("errors", &r.Errors) }
