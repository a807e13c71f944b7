package cacheserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pix/internal/unsupported"
	"pix/store"
	"pix/storepath"
)

// A Handler serves stores as one binary cache. It can be mounted below a prefix with [http.StripPrefix].
type Handler struct {
	stores     []store.Store
	dir        storepath.Dir
	opts       Options
	readTokens tokenSet
	signer     *signer
	found      *foundPaths
	texts      *narInfoTexts

	budgets    *budgets
	compressed *compressedFiles
	uploads    *uploadServer // nil if uploads are not accepted
	upload     *Handler      // below uploadPrefix
	adder      *fetchedAdder // nil if fetched paths are not added to a store
	forPushes  bool          // the handler is one below uploadPrefix
}

// New returns a handler that serves the stores: of each path, the first one that has it. All stores must have the same
// store directory. The handler does not close the stores.
func New(stores []store.Store, opts *Options) (*Handler, error) {
	if len(stores) == 0 {
		return nil, errors.New("there is no store to serve")
	}
	h := &Handler{stores: slices.Clone(stores), dir: stores[0].Dir()}
	if err := checkStores(stores); err != nil {
		return nil, err
	}
	if opts != nil {
		h.opts = *opts
	}
	h.opts.setDefaults()
	h.signer, h.found, h.texts = &signer{keys: h.opts.Keys}, new(foundPaths), new(narInfoTexts)
	var err error
	if h.readTokens, err = newTokenSet(h.opts.ReadTokens); err != nil {
		return nil, err
	}
	h.budgets = newBudgets(stores, &h.opts)
	if h.opts.Compress && h.opts.CompressedDir != "" {
		if h.compressed, err = openCompressed(h.opts.CompressedDir, h.opts.CompressedSize, h.opts.MaxEncoders*h.budgets.count()); err != nil {
			return nil, err
		}
	}
	if h.opts.Uploads != nil {
		if err := h.openUploads(); err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.upload = h.forUploaders()
	}
	if h.opts.AddFetched {
		if h.adder, err = newFetchedAdder(h.stores, h.observeAddition); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

// checkStores returns an error if the stores cannot be served as one cache.
func checkStores(stores []store.Store) error {
	dir := stores[0].Dir()
	for _, s := range stores {
		if s.Dir() != dir {
			return fmt.Errorf("the stores have different store directories, '%s' and '%s', and a cache has only one", dir, s.Dir())
		}
		_, finds := store.As[store.HashPartQuerier](s)
		_, reads := store.As[store.NARReader](s)
		if !finds || !reads {
			return unsupported.Errorf("a store that cannot look up hash parts or read archives cannot be served")
		}
	}
	return nil
}

// Close ends the compression of archives and additions of fetched paths, and releases the resources of the handler. No request may
// be running.
func (h *Handler) Close() error {
	var err error
	if h.adder != nil {
		h.adder.close()
	}
	if h.uploads != nil {
		err = h.uploads.close()
	}
	if h.compressed != nil {
		h.compressed.close()
	}
	return err
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w := newResponse(rw, h.opts.StallTimeout)
	path := r.URL.EscapedPath()
	if rest, ok := cutUploadPrefix(path); ok && h.upload != nil {
		h, path = h.upload, rest
	}
	n := parseName(path)
	err := h.serve(w, r, n)
	known := errors.As(err, new(*statusError)) // a client that is too slow is answered, although its context has ended
	if err != nil && (w.status != 0 || r.Context().Err() != nil && !known) {
		h.observe(r, n, w, start, err)
		panic(http.ErrAbortHandler) // resets the connection: the client must not take the response for a complete one
	}
	if err != nil {
		writeError(w, err)
	}
	w.finish()
	h.observe(r, n, w, start, err)
}

// serve answers a request. If it returns an error after it has begun the response, the response is incomplete.
func (h *Handler) serve(w *response, r *http.Request, n name) error {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	if r.Method == http.MethodPut {
		return h.put(w, r, n)
	}
	if err := discardBody(w, r); err != nil {
		return err
	}
	if err := h.checkAccess(w, r, n); err != nil {
		return err
	}
	if err := h.checkMethod(r, n); err != nil {
		return err
	}
	if h.headUploaded(w, r, n) {
		return nil
	}
	switch n.kind {
	case kindStart:
		return h.serveStart(w, r)
	case kindHealth:
		return h.serveHealth(w, r)
	case kindCacheInfo:
		return h.serveCacheInfo(w, r)
	case kindNarInfo:
		return h.serveNarInfo(w, r, n)
	case kindArchive:
		return h.serveArchive(w, r, n)
	case kindListing:
		return h.serveListing(w, r, n)
	case kindLog:
		return h.serveLog(w, r, n)
	case kindRealisation, kindTrace:
		return h.serveRealisation(w, r, n)
	case kindFiles:
		return h.serveFiles(w, r, n)
	}
	return errNotFound
}

// checkMethod returns an error if the method is not allowed for the file.
func (h *Handler) checkMethod(r *http.Request, n name) error {
	if n.kind == kindNone {
		return errNotFound
	}
	allowed := []string{http.MethodGet, http.MethodHead}
	if h.accepts(n.kind) {
		allowed = append(allowed, http.MethodPut)
	}
	if !slices.Contains(allowed, r.Method) {
		return &methodError{allowed: allowed, isUpload: r.Method == http.MethodPut}
	}
	return nil
}

// join returns the words as a list for people and headers.
func join(words []string) string { return strings.Join(words, ", ") }
