package main

import (
	"cmp"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A picture of a closure has layers, from left to right: a path lies in a layer behind all that
// refer to it. An edge that crosses layers goes through a waypoint in each, and the edges to a
// path share these, so that they come together to one line instead of hiding what is below them.
//
// The steps are those of Sugiyama, Tagawa and Toda: layers, waypoints, an order in each layer
// with few crossings, and then places.

// carefulVertices is up to how many paths and waypoints a picture is made with care. With more,
// edges have no waypoints, and orders are not looked for as long.
const carefulVertices = 2000

// A vertex is a path or a waypoint.
type vertex struct {
	info  *store.PathInfo // of a path; nil for a waypoint
	to    int             // the vertex of the path to which edges through a waypoint go
	layer int
	pos   int     // in the layer
	y     float64 // the middle

	before, behind []int // the ends of edges in the layers before and behind
}

// A layered is a closure in layers.
type layered struct {
	vertices []vertex // paths, in the order in which each comes before those that it refers to; then waypoints
	layers   [][]int
	careful  bool
}

// inLayers puts a closure into layers.
func inLayers(known map[storepath.Path]*store.PathInfo) (*layered, error) {
	infos := make([]*store.PathInfo, 0, len(known))
	for _, info := range known {
		infos = append(infos, info)
	}
	infos, err := store.SortByReferences(infos)
	if err != nil {
		return nil, err
	}
	slices.Reverse(infos)
	g := new(layered)
	index := make(map[storepath.Path]int, len(infos))
	for i, info := range infos {
		index[info.Path] = i
		g.vertices = append(g.vertices, vertex{info: info, to: i})
	}
	referrers := make([][]int, len(infos))
	for i, info := range infos {
		for _, ref := range info.References {
			if to := index[ref]; to != i {
				referrers[to] = append(referrers[to], i)
				g.vertices[to].layer = max(g.vertices[to].layer, g.vertices[i].layer+1)
			}
		}
	}
	g.careful = len(infos)+g.waypointsNeeded(referrers) <= carefulVertices
	for to := range referrers {
		g.connect(to, referrers[to])
	}
	for i := range g.vertices {
		layer := g.vertices[i].layer
		for len(g.layers) <= layer {
			g.layers = append(g.layers, nil)
		}
		g.layers[layer] = append(g.layers[layer], i)
	}
	g.order()
	g.place()
	return g, nil
}

func (g *layered) waypointsNeeded(referrers [][]int) (n int) {
	for to, from := range referrers {
		if len(from) > 0 {
			n += g.vertices[to].layer - g.firstLayer(from) - 1
		}
	}
	return n
}

// firstLayer returns the layer of the first of the vertices.
func (g *layered) firstLayer(vertices []int) int {
	first := g.vertices[vertices[0]].layer
	for _, v := range vertices {
		first = min(first, g.vertices[v].layer)
	}
	return first
}

// connect makes the edges to a path.
func (g *layered) connect(to int, from []int) {
	if len(from) == 0 {
		return
	}
	if !g.careful {
		for _, f := range from {
			g.edge(f, to)
		}
		return
	}
	entry := map[int]int{g.vertices[to].layer: to} // where an edge enters each layer
	last := to
	for layer := g.vertices[to].layer - 1; layer > g.firstLayer(from); layer-- {
		g.vertices = append(g.vertices, vertex{to: to, layer: layer})
		waypoint := len(g.vertices) - 1
		g.edge(waypoint, last)
		entry[layer], last = waypoint, waypoint
	}
	for _, f := range from {
		g.edge(f, entry[g.vertices[f].layer+1])
	}
}

func (g *layered) edge(from, to int) {
	g.vertices[from].behind = append(g.vertices[from].behind, to)
	g.vertices[to].before = append(g.vertices[to].before, from)
}

// order looks for an order in each layer with few crossings: each vertex in the middle of those
// that it is connected with, in turns from the left and from the right. The best one is taken.
func (g *layered) order() {
	turns := 24
	if !g.careful {
		turns = 2
	}
	g.number()
	best, fewest := g.clone(), g.crossings()
	for turn := range turns {
		for i := range g.layers {
			layer := i
			if turn%2 == 1 {
				layer = len(g.layers) - 1 - i
			}
			g.orderLayer(g.layers[layer], turn%2 == 0)
		}
		if n := g.crossings(); n < fewest {
			best, fewest = g.clone(), n
		}
	}
	g.layers = best
	g.number()
}

func (g *layered) clone() [][]int {
	layers := make([][]int, len(g.layers))
	for i, layer := range g.layers {
		layers[i] = slices.Clone(layer)
	}
	return layers
}

// number tells each vertex where in its layer it is.
func (g *layered) number() {
	for _, layer := range g.layers {
		for pos, v := range layer {
			g.vertices[v].pos = pos
		}
	}
}

func (g *layered) orderLayer(layer []int, fromLeft bool) {
	middle := make(map[int]float64, len(layer))
	for _, v := range layer {
		ends := g.vertices[v].behind
		if fromLeft {
			ends = g.vertices[v].before
		}
		middle[v] = float64(g.vertices[v].pos)
		if len(ends) > 0 {
			sum := 0.0
			for _, e := range ends {
				sum += g.relative(e)
			}
			middle[v] = sum / float64(len(ends)) * float64(len(layer))
		}
	}
	slices.SortStableFunc(layer, func(a, b int) int { return cmp.Compare(middle[a], middle[b]) })
	for pos, v := range layer {
		g.vertices[v].pos = pos
	}
}

// relative returns where in its layer a vertex is, from 0 to 1: without care edges come from
// layers of different lengths.
func (g *layered) relative(v int) float64 {
	return (float64(g.vertices[v].pos) + 0.5) / float64(len(g.layers[g.vertices[v].layer]))
}

// crossings counts how often edges cross, but only if it matters.
func (g *layered) crossings() (n int) {
	if !g.careful {
		return 0
	}
	for _, layer := range g.layers {
		var ends []int // in the next layer, of edges in their order in this one
		for _, v := range layer {
			from := len(ends)
			for _, e := range g.vertices[v].behind {
				ends = append(ends, g.vertices[e].pos)
			}
			slices.Sort(ends[from:])
		}
		n += inversions(ends)
	}
	return n
}

// inversions counts the pairs that are in the wrong order. It sorts the list.
func inversions(list []int) (n int) {
	if len(list) < 2 {
		return 0
	}
	left, right := slices.Clone(list[:len(list)/2]), slices.Clone(list[len(list)/2:])
	n = inversions(left) + inversions(right)
	for i := range list {
		if len(right) == 0 || len(left) > 0 && left[0] <= right[0] {
			list[i], left = left[0], left[1:]
		} else {
			list[i], right = right[0], right[1:]
			n += len(left)
		}
	}
	return n
}
