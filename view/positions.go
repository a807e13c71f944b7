package view

import (
	"cmp"
	"math"
	"slices"
)

// positions computes where each path of a closure is in the picture of the whole graph. A path is to the right of every
// path that refers to it, and near the paths with which it is connected. The reference k of path i is refs[first[i]+k].
//
// The layout of package closure draws the edges around the paths, which takes too long for thousands of paths. Here a path is a point.
// Its layer is the length of the longest chain to it, and a layer with many paths has several columns. The order in
// a layer comes from the average positions of the neighbours. References that close a cycle count only as edges.
type positions struct {
	first, refs []int32
	backFirst   []int32 // the opposite of refs and first
	backRefs    []int32

	order  []int32   // each path before those that it refers to
	rank   []int32   // the inverse of order
	layer  []int32   // of each path
	at     []float64 // of each path, from 0 to 1 in its layer
	layers [][]int32

	x, y []float32
}

// layOut returns the coordinates of the paths. Two paths are at least about 1 apart.
func layOut(first, refs []int32) (x, y []float32) {
	p := &positions{first: first, refs: refs}
	n := len(first) - 1
	p.layer, p.at = make([]int32, n), make([]float64, n)
	p.x, p.y = make([]float32, n), make([]float32, n)
	p.reverse()
	p.sort()
	p.assignLayers()
	const sweeps = 8
	for sweep := range sweeps {
		p.sweep(sweep%2 == 0)
	}
	p.place(p.rows())
	return p.x, p.y
}

func (p *positions) len() int { return len(p.first) - 1 }

func (p *positions) refsOf(i int32) []int32 { return p.refs[p.first[i]:p.first[i+1]] }

func (p *positions) referrersOf(i int32) []int32 { return p.backRefs[p.backFirst[i]:p.backFirst[i+1]] }

// reverse computes the referrers.
func (p *positions) reverse() {
	p.backFirst = make([]int32, p.len()+1)
	for _, ref := range p.refs {
		p.backFirst[ref+1]++
	}
	for i := range p.len() {
		p.backFirst[i+1] += p.backFirst[i]
	}
	next := slices.Clone(p.backFirst)
	p.backRefs = make([]int32, len(p.refs))
	for i := range int32(p.len()) {
		for _, ref := range p.refsOf(i) {
			p.backRefs[next[ref]] = i
			next[ref]++
		}
	}
}

// sort computes the order by a depth-first search that begins at the paths without referrers.
func (p *positions) sort() {
	n := p.len()
	p.order, p.rank = make([]int32, 0, n), make([]int32, n)
	seen := make([]bool, n)
	next := slices.Clone(p.first[:n])
	search := func(start int32) {
		if seen[start] {
			return
		}
		seen[start] = true
		for stack := []int32{start}; len(stack) > 0; { // closures can be deep, so this is not recursive
			top := stack[len(stack)-1]
			if next[top] == p.first[top+1] {
				p.order = append(p.order, top)
				stack = stack[:len(stack)-1]
				continue
			}
			ref := p.refs[next[top]]
			next[top]++
			if !seen[ref] {
				seen[ref] = true
				stack = append(stack, ref)
			}
		}
	}
	for i := range int32(n) {
		if len(p.referrersOf(i)) == 0 {
			search(i)
		}
	}
	for i := range int32(n) {
		search(i) // in cycles
	}
	slices.Reverse(p.order)
	for at, i := range p.order {
		p.rank[i] = int32(at)
	}
}

// assignLayers sets the layer of each path, and the first order in each layer.
func (p *positions) assignLayers() {
	for _, i := range p.order {
		for _, ref := range p.refsOf(i) {
			if p.rank[ref] > p.rank[i] {
				p.layer[ref] = max(p.layer[ref], p.layer[i]+1)
			}
		}
	}
	for _, i := range p.order {
		for len(p.layers) <= int(p.layer[i]) {
			p.layers = append(p.layers, nil)
		}
		p.layers[p.layer[i]] = append(p.layers[p.layer[i]], i)
	}
	for _, layer := range p.layers {
		p.setPositions(layer)
	}
}

func (p *positions) setPositions(layer []int32) {
	for k, i := range layer {
		p.at[i] = (float64(k) + 0.5) / float64(len(layer))
	}
}

// sweep orders the layers, from the left by the referrers or from the right by the references.
func (p *positions) sweep(fromLeft bool) {
	wanted := make([]float64, p.len())
	for l := range p.layers {
		if !fromLeft {
			l = len(p.layers) - 1 - l
		}
		layer := p.layers[l]
		for _, i := range layer {
			neighbours := p.refsOf(i)
			if fromLeft {
				neighbours = p.referrersOf(i)
			}
			wanted[i] = p.average(neighbours, p.at[i])
		}
		slices.SortStableFunc(layer, func(a, b int32) int { return cmp.Compare(wanted[a], wanted[b]) })
		p.setPositions(layer)
	}
}

// average returns the average position of paths, or the given one if there are none.
func (p *positions) average(paths []int32, otherwise float64) float64 {
	if len(paths) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, i := range paths {
		sum += p.at[i]
	}
	return sum / float64(len(paths))
}

const (
	layerSpace = 5.0 // between two layers
	aspect     = 1.7 // width by height of the picture
)

// rows returns the number of rows with which the picture has its aspect.
func (p *positions) rows() int {
	low, high := 4, max(5, p.len())
	for low < high {
		rows := (low + high) / 2
		if p.width(rows) > aspect*float64(rows) {
			low = rows + 1
		} else {
			high = rows
		}
	}
	return low
}

func (p *positions) width(rows int) (width float64) {
	for _, layer := range p.layers {
		width += float64(columns(layer, rows)) + layerSpace
	}
	return width
}

func columns(layer []int32, rows int) int { return (len(layer) + rows - 1) / rows }

// place sets the coordinates. The paths of a layer with several columns have all heights; others are at the average
// position of their neighbours, in the order of the layer.
func (p *positions) place(rows int) {
	left := 0.0
	for _, layer := range p.layers {
		n := columns(layer, rows)
		heights := p.heights(layer, rows)
		for k, i := range layer {
			p.x[i], p.y[i] = float32(left+float64(k%n)), float32(heights[k])
		}
		left += float64(n) + layerSpace
	}
}

// heights returns the heights of the paths of a layer.
func (p *positions) heights(layer []int32, rows int) []float64 {
	heights := make([]float64, len(layer))
	if 2*len(layer) > rows {
		for k := range layer {
			heights[k] = (float64(k) + 0.5) / float64(len(layer)) * float64(rows)
		}
		return heights
	}
	const space = 1.0
	// Paths that would overlap form a block, which is placed at the average of what they prefer.
	type block struct {
		sum   float64
		count int
	}
	var blocks []block
	for k, i := range layer {
		neighbours := p.average(p.referrersOf(i), p.at[i])/2 + p.average(p.refsOf(i), p.at[i])/2
		b := block{neighbours*float64(rows) - float64(k)*space, 1}
		for len(blocks) > 0 && blocks[len(blocks)-1].sum/float64(blocks[len(blocks)-1].count) >= b.sum/float64(b.count) {
			last := blocks[len(blocks)-1]
			b = block{b.sum + last.sum, b.count + last.count}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	k := 0
	for _, b := range blocks {
		for range b.count {
			heights[k] = b.sum/float64(b.count) + float64(k)*space
			k++
		}
	}
	return heights
}

// rounded returns coordinates with two decimals, which JSON has in few bytes.
func rounded(coordinates []float32) []float64 {
	list := make([]float64, len(coordinates))
	for i, c := range coordinates {
		list[i] = math.Round(float64(c)*100) / 100
	}
	return list
}
