package view

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// A graphJSON is a part of a closure as a layered graph. Its vertices are the paths, each before those that it refers to,
// and then the waypoints of edges.
type graphJSON struct {
	Vertices []vertexJSON `json:"vertices"`
	// Simplified says that the graph is too large for waypoints.
	Simplified bool `json:"simplified"`
}

type vertexJSON struct {
	Path  string  `json:"path,omitempty"` // the last element; "" for a waypoint
	Layer int     `json:"layer"`
	Y     float64 `json:"y"`
	To    []int   `json:"to"` // the ends of its edges, as indexes of vertices

	// The numbers of referrers and references that the graph leaves out.
	MoreReferrers  int `json:"moreReferrers,omitempty"`
	MoreReferences int `json:"moreReferences,omitempty"`
}

// newGraphJSON lays out a small closure.
func newGraphJSON(ctx context.Context, s *closure.Surroundings) (*graphJSON, error) {
	l, err := s.Layout(ctx)
	if errors.As(err, new(*store.ReferenceCycleError)) {
		return nil, &statusError{http.StatusUnprocessableEntity, "it cannot be drawn in layers: " + err.Error()}
	}
	if err != nil {
		return nil, err
	}
	j := &graphJSON{Simplified: l.Simplified, Vertices: []vertexJSON{}}
	for _, v := range l.Vertices() {
		vertex := vertexJSON{Layer: v.Layer, Y: v.Y, To: append([]int{}, v.To...)}
		if v.Path != "" {
			hidden := s.Hidden[v.Path]
			vertex.Path, vertex.MoreReferrers, vertex.MoreReferences = v.Path.Base(), hidden.Referrers, hidden.References
		}
		j.Vertices = append(j.Vertices, vertex)
	}
	return j, nil
}

// The limits of a neighbourhood.
const (
	maxDepth    = 6
	maxPerLevel = 200
)

// numberParameter returns a number in a parameter of a request, or the default without it.
func numberParameter(r *http.Request, name string, byDefault, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, &statusError{http.StatusBadRequest, "the parameter " + name + " is not a number from 0 to " + strconv.Itoa(most)}
	}
	return n, nil
}

// neighbourhood answers with the graph around a path.
func (h *Handler) neighbourhood(r *http.Request, paths []storepath.Path) (any, error) {
	up, err := numberParameter(r, "up", 1, maxDepth)
	if err != nil {
		return nil, err
	}
	down, err := numberParameter(r, "down", 1, maxDepth)
	if err != nil {
		return nil, err
	}
	most, err := numberParameter(r, "most", 16, maxPerLevel)
	if err != nil {
		return nil, err
	}
	path := paths[0]
	if _, ok := h.contents.Get(path); !ok {
		return nil, &store.NotFoundError{Path: path}
	}
	return newGraphJSON(r.Context(), h.contents.Around(path, closure.AroundOptions{Up: up, Down: down, Most: most}))
}

// maxDrawn is the largest number of paths in the graph of all chains.
const maxDrawn = 150

// A whyJSON says by which references a path needs another.
type whyJSON struct {
	Chain []storepath.Path `json:"chain"` // a shortest one; empty if there is none
	// Paths and References are the numbers on all chains. Graph has all of them; it is null if there are very many.
	Paths      int        `json:"paths"`
	References int        `json:"references"`
	Graph      *graphJSON `json:"graph"`
}

// why answers with the chains of references from one path to another.
func (h *Handler) why(r *http.Request, paths []storepath.Path) (any, error) {
	from, to := paths[0], paths[1]
	j := whyJSON{Chain: append([]storepath.Path{}, h.contents.Why(from, to)...)}
	part, err := between(h.contents.Closure, from, to)
	if err != nil {
		return nil, err
	}
	j.Paths = part.Len()
	for _, o := range part.All() {
		j.References += len(o.References)
	}
	if j.Paths > 0 && j.Paths <= maxDrawn {
		if j.Graph, err = newGraphJSON(r.Context(), &closure.Surroundings{Closure: part}); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// between returns the paths and the references on all chains from one path to another.
func between(c *closure.Closure, from, to storepath.Path) (*closure.Closure, error) {
	infos := make(map[storepath.Path]*store.PathInfo)
	var order []*store.PathInfo
	add := func(path storepath.Path) *store.PathInfo {
		if infos[path] == nil {
			o, _ := c.Get(path)
			infos[path] = &store.PathInfo{Path: path, NARSize: o.NARSize, Deriver: o.Deriver}
			order = append(order, infos[path])
		}
		return infos[path]
	}
	for _, edge := range c.Between(from, to) {
		info := add(edge.From)
		info.References = append(info.References, edge.To)
		add(edge.To)
	}
	return closure.New(order)
}
