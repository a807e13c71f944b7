package nar

import (
	"path"
	"strings"
)

// Prefix is what every archive that is not compressed begins with: [Magic] as a string of the format.
const Prefix = "\x0d\x00\x00\x00\x00\x00\x00\x00" + Magic

// A Finder finds a node by its path while a [Reader] reads the archive once. Pass each entry to
// [Finder.Match], in order:
//
//	f := nar.NewFinder("/bin/hello")
//	for e, err := range r.All() {
//		if err != nil {
//			return err
//		}
//		if f.Match(e) == nar.IsNode {
//			… // r reads the contents
//		}
//	}
//	if !f.Found() {
//		return errNoSuchFile
//	}
type Finder struct {
	names   []string // of the nodes from the root to the node
	matched int      // how many of them lead to the current entry
	found   bool
}

// NewFinder returns a Finder of the node at a path. As in Nix, the path begins at the root of the archive, with or
// without a slash, and symlinks are not followed.
func NewFinder(p string) *Finder {
	p = path.Clean("/" + p)[1:]
	if p == "" {
		return &Finder{}
	}
	return &Finder{names: strings.Split(p, "/")}
}

// A Match says where an entry is, relative to the node of a [Finder].
type Match int

const (
	IsOutside Match = iota // neither the node nor in it
	IsNode                 // the node
	IsInside               // in the node, which is a directory
)

// Match returns where the next entry of the archive is.
func (f *Finder) Match(e Entry) Match {
	depth := len(f.names)
	if e.Depth > depth && f.matched == depth {
		return IsInside
	}
	f.matched = min(f.matched, max(e.Depth-1, 0))
	if e.Depth > 0 && e.Depth <= depth && e.Depth == f.matched+1 && e.Name == f.names[e.Depth-1] {
		f.matched = e.Depth
	}
	if e.Depth == depth && f.matched == depth {
		f.found = true
		return IsNode
	}
	return IsOutside
}

// Found reports whether Match has returned IsNode.
func (f *Finder) Found() bool { return f.found }

// Path returns the path of the node, without a slash at its beginning; "" for the root.
func (f *Finder) Path() string { return strings.Join(f.names, "/") }

// Depth returns the [Entry.Depth] of the node.
func (f *Finder) Depth() int { return len(f.names) }
