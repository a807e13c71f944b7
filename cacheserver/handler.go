package cacheserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pix/store"
	"pix/storepath"
)

// A Handler serves stores as one binary cache. It can be mounted below a prefix with [http.StripPrefix].
type Handler struct {
	stores []store.Store
	dir    storepath.Dir
	opts   Options

	cacheInfo content
}

// New returns a handler that serves the stores: of each path, the first one that has it. All stores must have the same
// store directory. The handler does not close the stores.
func New(stores []store.Store, opts *Options) (*Handler, error) {
	if len(stores) == 0 {
		return nil, errors.New("there is no store to serve")
	}
	h := &Handler{stores: slices.Clone(stores), dir: stores[0].Dir()}
	for _, s := range stores[1:] {
		if s.Dir() != h.dir {
			return nil, fmt.Errorf("the stores have different store directories, '%s' and '%s', and a cache has only one", h.dir, s.Dir())
		}
	}
	if opts != nil {
		h.opts = *opts
	}
	h.cacheInfo = h.newCacheInfo()
	return h, nil
}

// Close releases the resources of the handler.
func (h *Handler) Close() error { return nil }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := parseName(r.URL.EscapedPath())
	err := h.checkMethod(r, n)
	if err == nil {
		err = h.serve(w, r, n)
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

// checkMethod returns an error if the method is not allowed for the file.
func (h *Handler) checkMethod(r *http.Request, n name) error {
	if n.kind == kindNone {
		return errNotFound
	}
	allowed := []string{http.MethodGet, http.MethodHead}
	if !slices.Contains(allowed, r.Method) {
		return &methodError{allowed}
	}
	return nil
}

// serve answers a request for a file. After an error nothing has been written to w, or the error is
// [http.ErrAbortHandler].
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, n name) error {
	switch n.kind {
	case kindCacheInfo:
		return h.serveContent(w, r, h.cacheInfo)
	case kindNarInfo:
		return h.serveNarInfo(w, r, n)
	case kindArchive:
		return h.serveArchive(w, r, n)
	}
	return errNotFound
}

// join returns the words as a list for people and headers.
func join(words []string) string { return strings.Join(words, ", ") }
