package view

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// contents are the loaded closure, and values that are computed from it once.
type contents struct {
	*closure.Closure
	dir   storepath.Dir
	roots []storepath.Path // the given ones, or the paths that no other path needs

	mu     sync.Mutex
	json   *closureJSON // nil before the first request
	text   keptBody     // of /api/closure
	layout keptBody     // of /api/layout

	sizesMu sync.Mutex
	sizes   keptBody // of /api/sizes
}

// A keptBody is the body of a response that is computed once.
type keptBody struct{ *body }

// get returns the body, from the value that compute returns at the first call without an error.
func (k *keptBody) get(compute func() (any, error)) (*body, error) {
	if k.body != nil {
		return k.body, nil
	}
	v, err := compute()
	if err != nil {
		return nil, err
	}
	b, err := marshal(v)
	if err == nil {
		err = b.compress()
	}
	if err != nil {
		return nil, err
	}
	k.body = b
	return b, nil
}

func newContents(dir storepath.Dir, c *closure.Closure, roots []storepath.Path) *contents {
	if len(roots) == 0 {
		roots = topPaths(c)
	}
	return &contents{Closure: c, dir: dir, roots: roots}
}

// topPaths returns paths whose closures together have all paths: the paths that no other path needs, and one path of each cycle.
func topPaths(c *closure.Closure) []storepath.Path {
	paths := c.Unreferenced()
	for _, cycle := range c.Cycles() {
		paths = append(paths, cycle[0])
	}
	slices.Sort(paths)
	return paths
}

// A summaryJSON describes what the page shows.
type summaryJSON struct {
	Name     string `json:"name"`
	StoreDir string `json:"storeDir"`
	Paths    int    `json:"paths"`
	Size     uint64 `json:"narSize"`

	// HasClosure is false if the page shows only the documentation.
	HasClosure bool `json:"hasClosure"`

	// Abilities of the store.
	HasRoots    bool `json:"hasRoots"`
	HasBuilds   bool `json:"hasBuilds"`
	HasContents bool `json:"hasContents"`
}

func newSummary(s store.Store, c *contents, name string) summaryJSON {
	_, roots := store.As[store.Rooter](s)
	_, builds := store.As[store.ActiveBuildQuerier](s)
	_, reads := store.As[store.NARReader](s)
	return summaryJSON{
		Name: name, StoreDir: string(s.Dir()), Paths: c.Len(), Size: c.Size(),
		HasClosure: true, HasRoots: roots, HasBuilds: builds, HasContents: reads,
	}
}

func (h *Handler) serveSummary(w http.ResponseWriter, r *http.Request) error {
	if h.store == nil {
		return writeJSON(w, r, summaryJSON{Name: h.name})
	}
	return writeJSON(w, r, newSummary(h.store, h.contents, h.name))
}

// A sizesJSON has the sizes of the closures of all paths, in the order of /api/closure. It is null if the references have
// cycles.
type sizesJSON struct {
	ClosureSizes []uint64 `json:"closureSizes"`
}

// newSizesJSON computes the sizes, which takes seconds for a hundred thousand paths. So they are not a part of /api/closure.
func (c *contents) newSizesJSON(ctx context.Context) (*sizesJSON, error) {
	paths := c.Paths()
	sizes, err := c.ClosureSizes(ctx, paths...)
	if errors.As(err, new(*store.ReferenceCycleError)) {
		return new(sizesJSON), nil
	}
	if err != nil {
		return nil, err
	}
	j := &sizesJSON{ClosureSizes: make([]uint64, len(paths))}
	for i, path := range paths {
		j.ClosureSizes[i] = sizes[path]
	}
	return j, nil
}

// serveSizes answers with the closure sizes, which are computed at the first request.
func (h *Handler) serveSizes(w http.ResponseWriter, r *http.Request) error {
	h.contents.sizesMu.Lock()
	defer h.contents.sizesMu.Unlock()
	b, err := h.contents.sizes.get(func() (any, error) { return h.contents.newSizesJSON(r.Context()) })
	if err != nil {
		return err
	}
	return writeBody(w, r, jsonType, b)
}

// A closureJSON is a closure with indexes instead of paths: a graph of 10,000 paths is less than a megabyte. The lists
// have an element for each path, in the order of the paths.
type closureJSON struct {
	StoreDir string   `json:"storeDir"`
	Paths    []string `json:"paths"` // the last elements, sorted
	Sizes    []uint64 `json:"narSizes"`
	// AddedSizes are the sizes of what would leave the closure of the roots with a path. Dominators are the indexes of the
	// paths whose added sizes include these; -1 for none.
	AddedSizes []uint64 `json:"addedSizes"`
	Dominators []int32  `json:"dominators"`
	// Self has the paths that refer to themselves. The references of path i to others are References[First[i]:First[i+1]].
	Self       []int32 `json:"self"`
	First      []int32 `json:"first"`
	References []int32 `json:"references"`
	Roots      []int32 `json:"roots"`
}

// newClosureJSON computes the added sizes, which takes less than a second for hundreds of thousands of paths.
func (c *contents) newClosureJSON(ctx context.Context) (*closureJSON, error) {
	paths := c.Paths()
	added, err := c.AddedSizes(ctx, c.roots...)
	if err != nil {
		return nil, err
	}
	dominators, err := c.Dominators(ctx, c.roots...)
	if err != nil {
		return nil, err
	}
	index := make(map[storepath.Path]int32, len(paths))
	for i, path := range paths {
		index[path] = int32(i)
	}
	j := &closureJSON{StoreDir: string(c.dir), Paths: make([]string, len(paths)), Sizes: make([]uint64, len(paths)), AddedSizes: make([]uint64, len(paths)),
		Dominators: make([]int32, len(paths)), First: make([]int32, 1, len(paths)+1), Self: []int32{}, References: []int32{}, Roots: []int32{}}
	for path, o := range c.All() {
		i := index[path]
		j.Paths[i], j.Sizes[i], j.AddedSizes[i] = path.Base(), o.NARSize, added[path]
		j.Dominators[i] = -1
		if d, ok := dominators[path]; ok {
			j.Dominators[i] = index[d]
		}
		for _, ref := range o.References {
			if ref == path {
				j.Self = append(j.Self, i)
				continue
			}
			j.References = append(j.References, index[ref])
		}
		j.First = append(j.First, int32(len(j.References)))
	}
	for _, root := range c.roots {
		if i, ok := index[root]; ok {
			j.Roots = append(j.Roots, i)
		}
	}
	return j, nil
}

// serveClosure answers with the closure, which is computed at the first request.
func (h *Handler) serveClosure(w http.ResponseWriter, r *http.Request) error {
	b, err := h.contents.closureBody(r.Context())
	if err != nil {
		return err
	}
	return writeBody(w, r, jsonType, b)
}

// closureBody returns the closure as JSON. Another request waits for the computation of the first one, which takes seconds
// at most, even if its own client has gone.
func (c *contents) closureBody(ctx context.Context) (*body, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.get(func() (any, error) { return c.closureJSON(ctx) })
}

// closureJSON computes the sizes at the first call. The caller holds the lock.
func (c *contents) closureJSON(ctx context.Context) (*closureJSON, error) {
	if c.json == nil {
		j, err := c.newClosureJSON(ctx)
		if err != nil {
			return nil, err
		}
		c.json = j
	}
	return c.json, nil
}
