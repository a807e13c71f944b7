package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pix/closure"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// Options configure a [Handler].
type Options struct {
	// Origin is the address of the page in the browser, such as "http://127.0.0.1:8080". Requests for other hosts, and
	// from pages of other origins, are refused.
	Origin string

	// OtherHosts are further values of the header Host that are accepted, such as "localhost:8080".
	OtherHosts []string

	// Name is the name of the store that the page shows.
	Name string

	// Roots are the paths whose closure is shown. Without roots it is the whole store, which must be able to list its
	// paths.
	Roots []storepath.Path

	// TrustedKeys are the keys whose signatures are explained as trusted ones.
	TrustedKeys signature.KeySet
}

// A Handler serves the page about a closure in a store, and its data. It must be at the root of its host.
type Handler struct {
	store    store.Store // nil without a closure
	name     string
	access   *access
	routes   map[string]route
	trusted  signature.KeySet
	contents *contents
	work     workers       // the queries that run
	streams  chan struct{} // the open streams of builds
}

// A route is a resource below /api/.
type route struct {
	method string
	public bool // the request needs no bearer, because it is the request for one
	strict bool // it must come from the page, or name its origin
	serve  func(w http.ResponseWriter, r *http.Request) error
}

const (
	maxWork    = 4
	maxStreams = 4 // a browser opens 6 connections to a host, so 2 are left for other requests
)

// New loads the closure, and returns the handler. The caller closes the store after the last request. As for
// [closure.Load], the error is a [*store.NotFoundError] if a root is not valid, or a [*store.LimitError].
func New(ctx context.Context, s store.Store, opts *Options) (*Handler, error) {
	if opts == nil {
		opts = new(Options)
	}
	access, err := newAccess(opts)
	if err != nil {
		return nil, err
	}
	c, err := load(ctx, s, opts.Roots)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		store: s, name: opts.Name, access: access, trusted: opts.TrustedKeys, contents: newContents(s.Dir(), c, opts.Roots),
		work: make(workers, maxWork), streams: make(chan struct{}, maxStreams),
	}
	h.routes = map[string]route{
		"session":       {method: http.MethodPost, public: true, serve: h.serveSession},
		"summary":       {method: http.MethodGet, serve: h.serveSummary},
		"closure":       {method: http.MethodGet, serve: h.serveClosure},
		"sizes":         {method: http.MethodGet, serve: h.serveSizes},
		"layout":        {method: http.MethodGet, serve: h.serveLayout},
		"path":          {method: http.MethodGet, serve: h.query(h.path, "path")},
		"mentions":      {method: http.MethodGet, serve: h.query(h.mentions, "from", "to")},
		"neighbourhood": {method: http.MethodGet, serve: h.query(h.neighbourhood, "path")},
		"why":           {method: http.MethodGet, serve: h.query(h.why, "from", "to")},
		"roots":         {method: http.MethodGet, serve: h.query(h.roots, "path")},
		"compare":       {method: http.MethodGet, serve: h.query(h.compare, "before", "after")},
		"derivation":    {method: http.MethodGet, serve: h.query(h.derivation, "path")},
		"explain":       {method: http.MethodGet, serve: h.query(h.explain, "path")},
		"builds":        {method: http.MethodGet, strict: true, serve: h.serveBuilds},
		"docs":          {method: http.MethodGet, serve: h.serveDocs},
	}
	return h, nil
}

// NewDocs returns a handler that serves the documentation without a store. It uses the origin, the hosts and the name in opts.
func NewDocs(opts *Options) (*Handler, error) {
	if opts == nil {
		opts = new(Options)
	}
	access, err := newAccess(opts)
	if err != nil {
		return nil, err
	}
	none, err := closure.New(nil)
	if err != nil {
		return nil, err
	}
	h := &Handler{name: opts.Name, access: access, contents: newContents(storepath.DefaultDir, none, nil)}
	h.routes = map[string]route{
		"session": {method: http.MethodPost, public: true, serve: h.serveSession},
		"summary": {method: http.MethodGet, serve: h.serveSummary},
		"closure": {method: http.MethodGet, serve: h.serveClosure}, // without paths
		"docs":    {method: http.MethodGet, serve: h.serveDocs},
	}
	return h, nil
}

// load loads the closure of the roots, or of the whole store.
func load(ctx context.Context, s store.Store, roots []storepath.Path) (*closure.Closure, error) {
	if len(roots) > 0 {
		return closure.Load(ctx, s, roots...)
	}
	c, err := closure.LoadAll(ctx, s)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("%w: name the paths to show", err)
	}
	return c, err
}

// NewToken returns a token that the page exchanges, once, for the right to read. Put it into the fragment of the address:
// a browser does not send the fragment, so it reaches neither a log nor another server.
func (h *Handler) NewToken() string { return h.access.newToken() }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", apiPolicy)
	if err := h.serve(w, r); err != nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		writeError(w, err)
	}
}

// writeTimeout is the time in which a client must receive a response. A stream has it for each event.
const writeTimeout = time.Minute

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := h.access.checkHost(r); err != nil {
		return err
	}
	name, isAPI := cutAPI(r.URL.Path)
	if !isAPI {
		return serveAsset(w, r)
	}
	route, ok := h.routes[name]
	if !ok {
		return errNoPage
	}
	if r.Method != route.method {
		w.Header().Set("Allow", route.method)
		return &statusError{http.StatusMethodNotAllowed, "the method must be " + route.method}
	}
	if err := h.access.checkOrigin(r, route.public || route.strict); err != nil {
		return err
	}
	if !route.public {
		if err := h.access.checkBearer(r); err != nil {
			return err
		}
	}
	return route.serve(w, r)
}
