package main

// The measures of a picture, in pixels.
const (
	pathHeight     = 20.0
	pathGap        = 8.0 // between two paths
	waypointHeight = 4.0
)

func (v *vertex) height() float64 {
	if v.info == nil {
		return waypointHeight
	}
	return pathHeight
}

// place gives each vertex its y: near the middle of those that it is connected with, in the
// order of the layer and without touching its neighbours.
func (g *layered) place() {
	turns := 16
	if !g.careful {
		turns = 4
	}
	for _, layer := range g.layers {
		g.placeLayer(layer, func(int) float64 { return 0 })
	}
	for turn := range turns {
		for i := range g.layers {
			layer := g.layers[i]
			if turn%2 == 1 {
				layer = g.layers[len(g.layers)-1-i]
			}
			g.placeLayer(layer, g.wish)
		}
	}
	top := 0.0
	for _, v := range g.vertices {
		top = min(top, v.y-v.height()/2)
	}
	for i := range g.vertices {
		g.vertices[i].y -= top
	}
}

// wish returns where a vertex would be best: in the middle of those that it is connected with.
func (g *layered) wish(v int) float64 {
	sum, n := 0.0, 0
	for _, ends := range [][]int{g.vertices[v].before, g.vertices[v].behind} {
		for _, e := range ends {
			sum += g.vertices[e].y
			n++
		}
	}
	if n == 0 {
		return g.vertices[v].y
	}
	return sum / float64(n)
}

// A block is some vertices of a layer that touch each other.
type block struct {
	sum   float64 // of where its vertices wish the block's zero to be
	count int
}

func (b block) at() float64 { return b.sum / float64(b.count) }

// placeLayer places the vertices of a layer, in their order, so that the squares of the
// distances from where they wish to be are least: those that would overlap become blocks, which
// are where they wish to be on average.
func (g *layered) placeLayer(layer []int, wish func(v int) float64) {
	offsets := make([]float64, len(layer)) // from the first vertex, if all touch
	var blocks []block
	for i, v := range layer {
		if i > 0 {
			above := &g.vertices[layer[i-1]]
			offsets[i] = offsets[i-1] + above.height()/2 + pathGap + g.vertices[v].height()/2
		}
		b := block{wish(v) - offsets[i], 1}
		for len(blocks) > 0 && blocks[len(blocks)-1].at() >= b.at() {
			last := blocks[len(blocks)-1]
			b = block{b.sum + last.sum, b.count + last.count}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	i := 0
	for _, b := range blocks {
		for range b.count {
			g.vertices[layer[i]].y = b.at() + offsets[i]
			i++
		}
	}
}
