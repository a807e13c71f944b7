package cacheserver

import (
	"context"
	"io"
	"net/http"

	"pix/nar"
	"pix/store"
)

// serveListing answers a request for the listing of an object, which has the offset of each file in the archive.
func (h *Handler) serveListing(w *response, r *http.Request, n name) error {
	s, info, err := h.lookUp(r.Context(), n.hashPart)
	if err != nil {
		return err
	}
	c := content{typ: "application/json", etag: `"ls-` + info.NARHash.Nix32() + `"`, cache: h.cacheControl(changeable)}
	c.make = func() ([]byte, error) {
		listing, err := h.listing(r.Context(), s, info)
		if err != nil {
			return nil, err
		}
		text, err := nar.MarshalLS(listing)
		if err != nil {
			return nil, &statusError{http.StatusNotFound, "a file name is not UTF-8, so no listing can represent it"}
		}
		return text, nil
	}
	return h.serveLargeContent(w, r, c, s)
}

// listing returns the files in an object. It is computed for each request, so few are computed at a time.
func (h *Handler) listing(ctx context.Context, s store.Store, info *store.PathInfo) (*nar.Listing, error) {
	places := h.budgets.of(s).work
	if err := places.acquire(ctx); err != nil {
		return nil, err
	}
	defer places.release()
	listing, err := store.Listing(ctx, s, info.Path)
	if err != nil || hasOffsets(listing) {
		return listing, err
	}
	archive, err := store.ReadNAR(ctx, s, info.Path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	if listing, err = nar.ReadListing(archive); err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, archive) // the reader verifies the archive at its end
	return listing, err
}

// hasOffsets reports whether a listing has the offsets of files, which listings from other caches may lack.
func hasOffsets(l *nar.Listing) bool {
	for _, file := range l.All() {
		if file.Kind == nar.Regular {
			return file.Offset != 0
		}
	}
	return true
}
