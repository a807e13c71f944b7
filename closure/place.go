package closure

// Heights in a picture, in pixels.
const (
	pathHeight     = 20.0
	pathGap        = 8.0 // between two boxes
	waypointHeight = 4.0
)

func (v *vertex) height() float64 {
	if v.object == nil {
		return waypointHeight
	}
	return pathHeight
}

// place sets y of each vertex: near the average of its neighbours, in the order of the layer, without overlaps.
func (l *Layout) place(steps *steps) error {
	sweeps := 16
	if l.Simplified {
		sweeps = 4
	}
	for _, layer := range l.layers {
		l.placeLayer(layer, func(int) float64 { return 0 })
	}
	for sweep := range sweeps {
		for i := range l.layers {
			if err := steps.next(); err != nil {
				return err
			}
			layer := l.layers[i]
			if sweep%2 == 1 {
				layer = l.layers[len(l.layers)-1-i]
			}
			l.placeLayer(layer, l.averageY)
		}
	}
	top := 0.0
	for _, v := range l.vertices {
		top = min(top, v.y-v.height()/2)
	}
	for i := range l.vertices {
		l.vertices[i].y -= top
	}
	return nil
}

// averageY returns the average y of the neighbours of a vertex.
func (l *Layout) averageY(v int) float64 {
	sum, n := 0.0, 0
	for _, neighbours := range [][]int{l.vertices[v].left, l.vertices[v].right} {
		for _, other := range neighbours {
			sum += l.vertices[other].y
			n++
		}
	}
	if n == 0 {
		return l.vertices[v].y
	}
	return sum / float64(n)
}

// A layerBlock is a run of vertices of a layer that touch each other.
type layerBlock struct {
	sum   float64 // of the preferred y of each vertex, less its offset in the layer
	count int
}

func (b layerBlock) y() float64 { return b.sum / float64(b.count) }

// placeLayer sets y of the vertices of a layer so that the squares of their distances to the preferred y have the
// smallest sum. Vertices that would overlap form a block, which is placed at the average of what they prefer.
func (l *Layout) placeLayer(layer []int, preferredY func(v int) float64) {
	offsets := make([]float64, len(layer)) // from the first vertex, if all vertices touch
	var blocks []layerBlock
	for i, v := range layer {
		if i > 0 {
			above := &l.vertices[layer[i-1]]
			offsets[i] = offsets[i-1] + above.height()/2 + pathGap + l.vertices[v].height()/2
		}
		b := layerBlock{preferredY(v) - offsets[i], 1}
		for len(blocks) > 0 && blocks[len(blocks)-1].y() >= b.y() {
			last := blocks[len(blocks)-1]
			b = layerBlock{b.sum + last.sum, b.count + last.count}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	i := 0
	for _, b := range blocks {
		for range b.count {
			l.vertices[layer[i]].y = b.y() + offsets[i]
			i++
		}
	}
}
