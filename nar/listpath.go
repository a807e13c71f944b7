package nar

import (
	"context"
	"io/fs"

	"pix/wire"
)

// ListPath returns the listing of the archive that [Dump] would write, with the offsets of the
// contents. It opens each file for its size and does not read it, so the offsets are wrong if a file
// changes before the dump. The errors are the same as of Dump.
func ListPath(ctx context.Context, path string, opts *DumpOptions) (*Listing, error) {
	return listDump(ctx, path, opts, (*dumper).path)
}

// ListFS returns the listing of the archive that [DumpFS] would write, like [ListPath].
func ListFS(ctx context.Context, fsys fs.FS, name string, opts *DumpOptions) (*Listing, error) {
	return listDump(ctx, name, opts, func(d *dumper) error { return d.pathFS(fsys) })
}

func listDump(ctx context.Context, root string, opts *DumpOptions, dump func(*dumper) error) (*Listing, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d := newDumper(&pipeline{ctx: ctx}, root, opts)
	d.listing = new(dumpListing)
	if err := dump(d); err != nil {
		return nil, err
	}
	return &d.listing.root, nil
}

// A dumpListing takes the nodes of a dump whose bytes are not needed.
type dumpListing struct {
	listingBuilder
	offset  int64  // of the next byte in the archive
	scratch []byte // for the bytes of a node
}

// begin counts the bytes of a node up to its contents, and adds it to the listing.
func (l *dumpListing) begin(e *Entry) {
	l.scratch = appendNode(l.scratch[:0], e)
	l.offset += int64(len(l.scratch))
	if e.Kind == Regular {
		e.Offset = l.offset
	}
	l.add(*e)
}

// skip counts the contents of a file and their padding.
func (l *dumpListing) skip(size uint64) { l.offset += int64(size) + int64(wire.PaddingLen(size)) }

// end counts the end of a node.
func (l *dumpListing) end(depth int) {
	l.scratch = appendEnd(l.scratch[:0], depth)
	l.offset += int64(len(l.scratch))
}
