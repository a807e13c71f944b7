package store

import (
	"cmp"
	"fmt"
	"slices"

	"pix/storepath"
)

// A ReferenceCycleError says that objects refer to each other in a circle, so that none of
// them can be added before the others. No store that keeps Nix's rules has one.
type ReferenceCycleError struct {
	Path storepath.Path // one of them
	From storepath.Path // another one, which refers to Path; "" if unknown
}

func (e *ReferenceCycleError) Error() string {
	if e.From == "" {
		return fmt.Sprintf("cycle detected in the references of '%s'", e.Path)
	}
	return fmt.Sprintf("cycle detected in the references of '%s' from '%s'", e.Path, e.From)
}

// SortByReferences returns the infos in such an order that each comes after those that it
// refers to, itself and paths that are not among them aside. Where the references leave it
// open, the order is Nix's own, in which it exports: what a path refers to comes right before
// it, by path. The error is a [*ReferenceCycleError].
//
// Source: topo-sort.hh, whose order this is backwards.
func SortByReferences(infos []*PathInfo) ([]*PathInfo, error) {
	nodes := make(map[storepath.Path]*sorting, len(infos))
	for _, info := range infos {
		nodes[info.Path] = &sorting{info: info}
	}
	starts := slices.SortedFunc(slices.Values(infos), func(a, b *PathInfo) int { return cmp.Compare(a.Path, b.Path) })
	sorted := make([]*PathInfo, 0, len(infos))
	for _, start := range starts {
		// Closures are deep, so this is no recursion.
		for way := []*sorting{nodes[start.Path]}; len(way) > 0; {
			at := way[len(way)-1]
			next := at.step(nodes)
			switch {
			case next == nil:
				if !at.done {
					at.done = true
					sorted = append(sorted, at.info)
				}
				way = way[:len(way)-1]
			case next.done:
			case next.entered:
				return nil, &ReferenceCycleError{Path: next.info.Path, From: at.info.Path}
			default:
				way = append(way, next)
			}
		}
	}
	return sorted, nil
}

// A sorting is a path on its way into the order.
type sorting struct {
	info          *PathInfo
	looked        int // how many of its references were looked at
	entered, done bool
}

// step returns the next of the paths to be sorted that s refers to, or nil.
func (s *sorting) step(nodes map[storepath.Path]*sorting) *sorting {
	s.entered = true
	for s.looked < len(s.info.References) {
		ref := s.info.References[s.looked]
		s.looked++
		if n := nodes[ref]; n != nil && n != s {
			return n
		}
	}
	return nil
}
