package nar

import (
	"cmp"
	"io"
	"iter"
	"slices"
	"strings"
)

// A Listing is what an archive holds, without the contents of files: one node, and in
// a directory all that lies in it. With the offsets in it a single file can be taken
// out of an archive ([FS]).
type Listing struct {
	Name       string    // within its directory; "" for the root
	Kind       Kind      //
	Executable bool      // of a file
	Size       uint64    // of a file's contents in bytes
	Offset     int64     // of a file's contents from the start of the archive; 0 if not known
	Target     string    // of a symlink
	Entries    []Listing // of a directory, sorted by the bytes of their names
}

// ReadListing reads the archive that comes next in src, to its end, and lists it. Its
// errors are those of a [Reader].
func ReadListing(src io.Reader) (*Listing, error) { return NewReader(src).listing() }

// listing reads to the end of the archive.
func (r *Reader) listing() (*Listing, error) {
	var b listingBuilder
	for e, err := range r.All() {
		if err != nil {
			return nil, err
		}
		b.add(e)
	}
	return &b.root, nil
}

// Lookup returns what lies at the path, which is relative to l and has slashes; "" and
// "." are l itself. It follows no symlinks, and returns nil if there is nothing.
func (l *Listing) Lookup(path string) *Listing {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		i, ok := slices.BinarySearchFunc(l.Entries, name, func(e Listing, name string) int { return cmp.Compare(e.Name, name) })
		if !ok {
			return nil
		}
		l = &l.Entries[i]
	}
	return l
}

// All returns an iterator over l and all that lies in it, in the order of the archive,
// with paths relative to l. That of l is "".
func (l *Listing) All() iter.Seq2[string, *Listing] {
	return func(yield func(string, *Listing) bool) { l.visit("", yield) }
}

func (l *Listing) visit(path string, yield func(string, *Listing) bool) bool {
	if !yield(path, l) {
		return false
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		below := e.Name
		if path != "" {
			below = path + "/" + e.Name
		}
		if !e.visit(below, yield) {
			return false
		}
	}
	return true
}

// A listingBuilder makes a listing of entries that come in the order of the archive.
type listingBuilder struct {
	root Listing
	path [MaxDepth]*Listing // the nodes on the way to the last one
}

func (b *listingBuilder) add(e Entry) {
	node := Listing{Name: e.Name, Kind: e.Kind, Executable: e.Executable, Size: e.Size, Offset: e.Offset, Target: e.Target}
	if e.Depth == 0 {
		b.root, b.path[0] = node, &b.root
		return
	}
	dir := b.path[e.Depth-1]
	// This may move the entries that were there, but only the last one is in b.path, and
	// that is replaced.
	dir.Entries = append(dir.Entries, node)
	b.path[e.Depth] = &dir.Entries[len(dir.Entries)-1]
}
