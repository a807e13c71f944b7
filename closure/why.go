package closure

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// Why returns a shortest chain of references: from, then a path that it refers to, and so on to the path to. It
// returns nil if to is not in the closure of from.
func (c *Closure) Why(from, to storepath.Path) []storepath.Path {
	start, ok := c.index[from]
	end, found := c.index[to]
	if !ok || !found {
		return nil
	}
	const unseen = -1
	referrer := make([]int32, c.Len()) // on a shortest chain
	for i := range referrer {
		referrer[i] = unseen
	}
	referrer[start] = start
	for level := []int32{start}; len(level) > 0 && referrer[end] == unseen; {
		var next []int32
		for _, i := range level {
			for _, ref := range c.refsOf(i) {
				if referrer[ref] == unseen {
					referrer[ref] = i
					next = append(next, ref)
				}
			}
		}
		level = next
	}
	if referrer[end] == unseen {
		return nil
	}
	chain := []storepath.Path{to}
	for i := end; i != start; {
		i = referrer[i]
		chain = append(chain, c.paths[i])
	}
	slices.Reverse(chain)
	return chain
}

// An Edge is a reference between two paths.
type Edge struct {
	From, To storepath.Path
}

// Between returns all references on all chains from one path to another, sorted by From and To.
func (c *Closure) Between(from, to storepath.Path) []Edge {
	start, ok := c.index[from]
	end, found := c.index[to]
	if !ok || !found {
		return nil
	}
	reached := c.reach(from)
	referrers, first := c.referrers()
	var edges []Edge
	seen := make([]bool, c.Len())
	seen[end] = true
	for todo := []int32{end}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i == start {
			continue
		}
		for _, r := range referrers[first[i]:first[i+1]] {
			if !reached[r] {
				continue
			}
			edges = append(edges, Edge{c.paths[r], c.paths[i]})
			if !seen[r] {
				seen[r] = true
				todo = append(todo, r)
			}
		}
	}
	slices.SortFunc(edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return edges
}

// A Mention is a file or a symlink in a store object that contains a reference.
type Mention struct {
	File   string // relative to the object; "" for the object itself
	Target string // of a symlink; "" for a file
}

// FindReferences reads the archive of an object from s and returns the files that contain the hash part of ref, and
// the symlinks whose target contains it.
func FindReferences(ctx context.Context, s store.Store, object, ref storepath.Path) ([]Mention, error) {
	var mentions []Mention
	for m, err := range Mentions(ctx, s, object, ref) {
		if err != nil {
			return nil, err
		}
		mentions = append(mentions, m)
	}
	return mentions, nil
}

// Mentions is like [FindReferences], and yields each mention when it is found. An error is the last element. The store
// verifies an archive at its end, so all mentions are certain only after the loop has ended without an error.
func Mentions(ctx context.Context, s store.Store, object, ref storepath.Path) iter.Seq2[Mention, error] {
	return func(yield func(Mention, error) bool) {
		archive, err := store.ReadNAR(ctx, s, object)
		if err != nil {
			yield(Mention{}, err)
			return
		}
		defer archive.Close()
		r := nar.NewReader(archive)
		for entry, err := range r.All() {
			isMentioned := false
			if err == nil {
				isMentioned, err = hasReference(r, entry, ref)
			}
			if err != nil {
				yield(Mention{}, err)
				return
			}
			if isMentioned && !yield(Mention{r.Path(), entry.Target}, nil) {
				return
			}
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			yield(Mention{}, err)
		}
	}
}

// hasReference reports whether an entry of an archive contains the hash part of ref.
func hasReference(r *nar.Reader, entry nar.Entry, ref storepath.Path) (bool, error) {
	scanner := nar.NewRefScanner([]storepath.Path{ref})
	switch entry.Kind {
	case nar.Regular:
		if _, err := io.Copy(scanner, r); err != nil {
			return false, err
		}
	case nar.Symlink:
		io.WriteString(scanner, entry.Target)
	}
	return len(scanner.Found()) > 0, nil
}
