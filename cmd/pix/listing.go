package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// listObject lists what is at rest in an object: as the store lists it, if it does, or else by
// reading its archive.
func (a *app) listObject(ctx context.Context, s store.Store, object storepath.Path, rest string, form lsForm) error {
	if l := listingOf(ctx, s, object); l != nil {
		return a.listListing(l, object, orRoot(rest), form)
	}
	return withArchive(ctx, s, object, func(archive io.Reader) error {
		return a.listIn(objectArchive(archive, object), orRoot(rest), form)
	})
}

// listingOf returns what a store lists of an object, or nil. Why there is nothing does not
// matter: the archive tells the same, or has a better reason.
func listingOf(ctx context.Context, s store.Store, object storepath.Path) *nar.Listing {
	r, ok := store.As[store.ListingReader](s)
	if !ok {
		return nil
	}
	l, err := r.Listing(ctx, object)
	if err != nil {
		return nil
	}
	return l
}

// listListing lists what is at a path in an object.
func (a *app) listListing(l *nar.Listing, object storepath.Path, inside string, form lsForm) error {
	wanted := seek(inside)
	found := l.Lookup(strings.Join(wanted.names, "/"))
	if found == nil {
		return fmt.Errorf("%s: %w", objectName(object), noFile(inside, nar.Entry{}))
	}
	list := a.newLister(wanted, form)
	if err := tell(list, found, "", len(wanted.names), form.depth()); err != nil {
		return err
	}
	return list.end()
}

// tell tells a lister of a node, and so many levels below it.
func tell(list lister, l *nar.Listing, below string, depth, levels int) error {
	e := nar.Entry{Name: l.Name, Depth: depth, Kind: l.Kind, Executable: l.Executable, Size: l.Size, Offset: l.Offset, Target: l.Target}
	if err := list.node(e, below); err != nil {
		return err
	}
	for i := 0; i < len(l.Entries) && levels > 0; i++ {
		entry := &l.Entries[i]
		if err := tell(list, entry, path.Join(below, entry.Name), depth+1, levels-1); err != nil {
			return err
		}
	}
	return nil
}
