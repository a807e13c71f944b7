package nar

import (
	"cmp"
	"io"
	"iter"
	"slices"
	"strings"
)

// A Listing describes one node of an archive, without the contents of files. The listing of
// a directory includes everything below it. [FS] reads single files with the offsets.
type Listing struct {
	Name       string // name in its directory; "" for the root
	Kind       Kind
	Executable bool      // for a file
	Size       uint64    // size of a file's contents in bytes
	Offset     int64     // offset of a file's contents in the archive; 0 if unknown
	Target     string    // target of a symlink
	Entries    []Listing // entries of a directory, sorted by the bytes of their names
}

// ReadListing reads the next archive in src and returns its listing. The error is an [*Error].
func ReadListing(src io.Reader) (*Listing, error) { return NewReader(src).listing() }

// listing reads the rest of the archive and returns its listing.
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

// Lookup returns the node at path, which is relative to l and separated by slashes; "" and
// "." are l itself. It does not follow symlinks. It returns nil if the node does not exist.
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

// All returns an iterator over l and everything below it, in the order of the archive, with
// paths relative to l. The path of l is "".
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

// A listingBuilder builds a listing from entries in the order of the archive.
type listingBuilder struct {
	root Listing
	path [MaxDepth]*Listing // the last node and its ancestors
}

func (b *listingBuilder) add(e Entry) {
	node := Listing{Name: e.Name, Kind: e.Kind, Executable: e.Executable, Size: e.Size, Offset: e.Offset, Target: e.Target}
	if e.Depth == 0 {
		b.root, b.path[0] = node, &b.root
		return
	}
	dir := b.path[e.Depth-1]
	// append may move the existing entries. Of these only the last one is in b.path, where
	// the new entry replaces it.
	dir.Entries = append(dir.Entries, node)
	b.path[e.Depth] = &dir.Entries[len(dir.Entries)-1]
}

// Index returns the listing of the archive in src, whose size in bytes is size. It skips the
// contents of files, so it is fast if files are large. The error is an [*Error], also for
// bytes after the end of the archive.
func Index(src io.ReaderAt, size int64) (*Listing, error) {
	r := NewReader(io.NewSectionReader(src, 0, size))
	l, err := r.listing()
	if err != nil {
		return nil, err
	}
	if r.Offset() != size {
		return nil, &Error{Offset: r.Offset(), Reason: "there are bytes after the end of the archive"}
	}
	return l, nil
}
