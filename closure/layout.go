package closure

import (
	"cmp"
	"context"
	"slices"

	"pix/storepath"
)

// A Layout is a drawing of a closure in layers from left to right. A path is in a layer to the right of all paths
// that refer to it.
//
// An edge that crosses layers passes through a waypoint in each of them. All edges to a path share its waypoints,
// so they join into one line instead of covering the boxes between them.
//
// Sugiyama, Tagawa and Toda describe the algorithm: assign layers, add waypoints, order each layer for few
// crossings, and assign coordinates.
type Layout struct {
	// Simplified says that the closure is too large for waypoints: edges may run across boxes.
	Simplified bool

	vertices []vertex // the paths, each before those that it refers to; then the waypoints
	layers   [][]int  // indexes of vertices, from top to bottom
}

// maxWaypoints is the largest number of paths and waypoints of a layout that is not simplified. The time for
// ordering the layers grows faster than this number.
const maxWaypoints = 2000

// A vertex is a path or a waypoint.
type vertex struct {
	object *Object // nil for a waypoint; without references
	target int     // the vertex of the path to which all edges through a waypoint lead
	layer  int
	pos    int     // the index in the layer
	y      float64 // the middle

	left, right []int // the other ends of the edges from the left and to the right
}

// Layout computes the layout of the closure. The result is the same for the same closure. The error is a
// [*store.ReferenceCycleError], or the cause of ctx: a large layout takes seconds.
func (c *Closure) Layout(ctx context.Context) (*Layout, error) {
	order, err := c.sorted()
	if err != nil {
		return nil, err
	}
	slices.Reverse(order)
	l := new(Layout)
	vertexOf := make([]int, len(order))
	for i, at := range order {
		vertexOf[at] = i
		l.vertices = append(l.vertices, vertex{object: &Object{Path: c.paths[at], NARSize: c.sizes[at]}, target: i})
	}
	referrers := make([][]int, len(order))
	for i, at := range order {
		for _, ref := range c.refsOf(at) {
			to := vertexOf[ref]
			referrers[to] = append(referrers[to], i)
			l.vertices[to].layer = max(l.vertices[to].layer, l.vertices[i].layer+1)
		}
	}
	l.Simplified = len(order)+l.countWaypoints(referrers) > maxWaypoints
	for to := range referrers {
		l.connect(referrers[to], to)
	}
	for i := range l.vertices {
		layer := l.vertices[i].layer
		for len(l.layers) <= layer {
			l.layers = append(l.layers, nil)
		}
		l.layers[layer] = append(l.layers[layer], i)
	}
	steps := steps{ctx: ctx, every: 1}
	if err := l.order(&steps); err != nil {
		return nil, err
	}
	if err := l.place(&steps); err != nil {
		return nil, err
	}
	return l, nil
}

// Layers returns the paths of each layer, from left to right and from top to bottom.
func (l *Layout) Layers() [][]storepath.Path {
	layers := make([][]storepath.Path, len(l.layers))
	for i, layer := range l.layers {
		for _, v := range layer {
			if o := l.vertices[v].object; o != nil {
				layers[i] = append(layers[i], o.Path)
			}
		}
	}
	return layers
}

// countWaypoints returns the number of waypoints that connect would add.
func (l *Layout) countWaypoints(referrers [][]int) (n int) {
	for to, from := range referrers {
		if len(from) > 0 {
			n += l.vertices[to].layer - l.firstLayer(from) - 1
		}
	}
	return n
}

// firstLayer returns the leftmost layer of the vertices.
func (l *Layout) firstLayer(vertices []int) int {
	first := l.vertices[vertices[0]].layer
	for _, v := range vertices {
		first = min(first, l.vertices[v].layer)
	}
	return first
}

// connect adds the edges to a path, with their waypoints unless the layout is simplified.
func (l *Layout) connect(from []int, to int) {
	if len(from) == 0 {
		return
	}
	if l.Simplified {
		for _, f := range from {
			l.addEdge(f, to)
		}
		return
	}
	entry := map[int]int{l.vertices[to].layer: to} // the vertex that edges enter in each layer
	last := to
	for layer := l.vertices[to].layer - 1; layer > l.firstLayer(from); layer-- {
		l.vertices = append(l.vertices, vertex{target: to, layer: layer})
		waypoint := len(l.vertices) - 1
		l.addEdge(waypoint, last)
		entry[layer], last = waypoint, waypoint
	}
	for _, f := range from {
		l.addEdge(f, entry[l.vertices[f].layer+1])
	}
}

func (l *Layout) addEdge(from, to int) {
	l.vertices[from].right = append(l.vertices[from].right, to)
	l.vertices[to].left = append(l.vertices[to].left, from)
}

// order orders each layer for few crossings. It moves each vertex to the average position of its neighbours, in
// sweeps from the left and from the right, and keeps the best order of all sweeps.
func (l *Layout) order(steps *steps) error {
	sweeps := 24
	if l.Simplified {
		sweeps = 2
	}
	l.setPositions()
	best, fewest := l.cloneLayers(), l.countCrossings()
	for sweep := range sweeps {
		fromLeft := sweep%2 == 0
		for i := range l.layers {
			if err := steps.next(); err != nil {
				return err
			}
			layer := i
			if !fromLeft {
				layer = len(l.layers) - 1 - i
			}
			l.orderLayer(l.layers[layer], fromLeft)
		}
		if n := l.countCrossings(); n < fewest {
			best, fewest = l.cloneLayers(), n
		}
	}
	l.layers = best
	l.setPositions()
	return nil
}

func (l *Layout) cloneLayers() [][]int {
	layers := make([][]int, len(l.layers))
	for i, layer := range l.layers {
		layers[i] = slices.Clone(layer)
	}
	return layers
}

// setPositions sets pos of each vertex from the layers.
func (l *Layout) setPositions() {
	for _, layer := range l.layers {
		for pos, v := range layer {
			l.vertices[v].pos = pos
		}
	}
}

// orderLayer sorts a layer by the average positions of the neighbours on one side.
func (l *Layout) orderLayer(layer []int, fromLeft bool) {
	average := make(map[int]float64, len(layer))
	for _, v := range layer {
		neighbours := l.vertices[v].right
		if fromLeft {
			neighbours = l.vertices[v].left
		}
		average[v] = float64(l.vertices[v].pos)
		if len(neighbours) > 0 {
			sum := 0.0
			for _, n := range neighbours {
				sum += l.relativePosition(n)
			}
			average[v] = sum / float64(len(neighbours)) * float64(len(layer))
		}
	}
	slices.SortStableFunc(layer, func(a, b int) int { return cmp.Compare(average[a], average[b]) })
	for pos, v := range layer {
		l.vertices[v].pos = pos
	}
}

// relativePosition returns the position of a vertex in its layer, from 0 to 1. In a simplified layout the
// neighbours of a vertex are in layers of different lengths, so their positions cannot be compared.
func (l *Layout) relativePosition(v int) float64 {
	return (float64(l.vertices[v].pos) + 0.5) / float64(len(l.layers[l.vertices[v].layer]))
}

// countCrossings returns how many pairs of edges cross; 0 for a simplified layout.
func (l *Layout) countCrossings() (n int) {
	if l.Simplified {
		return 0
	}
	for _, layer := range l.layers {
		var ends []int // positions in the next layer, of the edges sorted by their position in this one
		for _, v := range layer {
			first := len(ends)
			for _, right := range l.vertices[v].right {
				ends = append(ends, l.vertices[right].pos)
			}
			slices.Sort(ends[first:])
		}
		n += countInversions(ends)
	}
	return n
}

// countInversions returns the number of pairs that are in the wrong order. It sorts the list, by merging.
func countInversions(list []int) (n int) {
	if len(list) < 2 {
		return 0
	}
	left, right := slices.Clone(list[:len(list)/2]), slices.Clone(list[len(list)/2:])
	n = countInversions(left) + countInversions(right)
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
