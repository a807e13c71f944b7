package protocol

import (
	"errors"

	"pix/store"
	"pix/storepath"
)

// An EnsurePathRequest makes a path valid: the daemon substitutes it if necessary.
type EnsurePathRequest struct{ Path storepath.Path }

func (*EnsurePathRequest) Op() Op          { return EnsurePath }
func (r *EnsurePathRequest) code(c *codec) { c.path("path", &r.Path) }

// An AddTempRootRequest protects a path from the garbage collector while the connection is
// open. The path need not be valid yet.
type AddTempRootRequest struct{ Path storepath.Path }

func (*AddTempRootRequest) Op() Op          { return AddTempRoot }
func (r *AddTempRootRequest) code(c *codec) { c.path("path", &r.Path) }

// An AddTempRootsRequest does the same for many paths.
type AddTempRootsRequest struct{ Paths []storepath.Path }

func (*AddTempRootsRequest) Op() Op          { return AddTempRoots }
func (r *AddTempRootsRequest) code(c *codec) { c.pathSet("paths", &r.Paths) }

// An AddIndirectRootRequest registers a symlink anywhere in the daemon's file system as a root.
// The garbage collector keeps its target while the symlink exists.
type AddIndirectRootRequest struct{ Link string }

func (*AddIndirectRootRequest) Op() Op          { return AddIndirectRoot }
func (r *AddIndirectRootRequest) code(c *codec) { c.name("link", &r.Link) }

// An AddPermRootRequest creates a symlink to a path and registers it as an indirect root. Only
// a trusted user may do this.
type AddPermRootRequest struct {
	Path storepath.Path
	Link string // absolute, in the daemon's file system
}

// An AddPermRootReply holds the cleaned absolute name of the symlink.
type AddPermRootReply struct{ Link string }

func (*AddPermRootRequest) Op() Op { return AddPermRoot }
func (r *AddPermRootRequest) code(c *codec) {
	c.path("path", &r.Path)
	c.name("link", &r.Link)
}
func (r *AddPermRootReply) code(c *codec) { c.name("link", &r.Link) }

// A SyncWithGCRequest waited for a running collection in Nix before 2.4. It has no effect
// since.
type SyncWithGCRequest struct{}

func (*SyncWithGCRequest) Op() Op      { return SyncWithGC }
func (*SyncWithGCRequest) code(*codec) {}

// A FindRootsRequest asks for the garbage collector roots.
type FindRootsRequest struct{}

// A FindRootsReply holds the roots, in any order.
type FindRootsReply struct{ Roots []store.Root }

func (*FindRootsRequest) Op() Op      { return FindRoots }
func (*FindRootsRequest) code(*codec) {}
func (r *FindRootsReply) code(c *codec) {
	list(c, "roots", &r.Roots, func(root *store.Root) {
		c.name("link", &root.Link)
		c.path("path", &root.Path)
	})
}

// A CollectGarbageRequest collects garbage. Without the feature [DeleteDeadSpecificReferrers],
// Paths is only valid for [store.GCDeleteSpecific], and DeleteReferrers never. Other requests
// are an [*UnsupportedError].
type CollectGarbageRequest struct{ store.GCOptions }

// A CollectGarbageReply holds the paths that were found or deleted.
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

// codePaths codes the paths to which the request is limited, or that it is about the whole
// store.
func (r *CollectGarbageRequest) codePaths(c *codec) {
	whole := r.Paths == nil
	c.tag("whole store", &whole)
	switch {
	case whole && c.encoding():
		if r.DeleteReferrers {
			c.fail("delete referrers", errors.New("the request has no paths whose referrers could be deleted"))
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

// codePathsOld codes the paths to delete.
func (r *CollectGarbageRequest) codePathsOld(c *codec) {
	specific := r.Action == store.GCDeleteSpecific
	if c.encoding() && (r.DeleteReferrers || !specific && r.Paths != nil) {
		c.fail("paths", &UnsupportedError{What: "limiting a garbage collection to given paths and their referrers", Have: c.Version, Feature: DeleteDeadSpecificReferrers})
		return
	}
	at := c.form.offset()
	c.pathSet("paths", &r.Paths)
	if c.encoding() {
		return
	}
	r.DeleteReferrers = false
	if specific && r.Paths == nil {
		r.Paths = []storepath.Path{}
	}
	if !specific && r.Paths != nil {
		c.failAt("paths", at, errors.New("only delete-specific takes paths"))
	}
}

func (r *CollectGarbageReply) code(c *codec) {
	list(c, "paths", &r.Paths, func(p *string) { c.name("path", p) })
	c.uint64("bytes freed", &r.BytesFreed)
	c.obsolete("obsolete", 0)
}

// An OptimiseStoreRequest replaces identical files in the store with hard links.
type OptimiseStoreRequest struct{}

func (*OptimiseStoreRequest) Op() Op      { return OptimiseStore }
func (*OptimiseStoreRequest) code(*codec) {}

// A VerifyStoreRequest checks that all valid paths exist. With CheckContents it also compares
// their contents with their hashes. Only a trusted user may ask for Repair.
type VerifyStoreRequest struct{ CheckContents, Repair bool }

// A VerifyStoreReply reports whether errors remain.
type VerifyStoreReply struct{ Errors bool }

func (*VerifyStoreRequest) Op() Op { return VerifyStore }
func (r *VerifyStoreRequest) code(c *codec) {
	c.bool("check contents", &r.CheckContents)
	c.bool("repair", &r.Repair)
}
func (r *VerifyStoreRequest) needsTrust(Params) bool { return r.Repair }
func (r *VerifyStoreReply) code(c *codec)            { c.bool("errors", &r.Errors) }
