package closure

import (
	"slices"

	"pix/storepath"
)

// A LayoutVertex is a path or a waypoint of a [Layout], for programs that draw it themselves.
type LayoutVertex struct {
	Path  storepath.Path // "" for a waypoint
	Layer int            // from left to right, from 0
	Y     float64        // the middle; two paths of a layer are at least 28 apart
	To    []int          // the ends of its edges in layers to the right, as indexes of vertices
}

// Vertices returns the vertices of the layout: the paths, each before those that it refers to, and then the waypoints.
func (l *Layout) Vertices() []LayoutVertex {
	vertices := make([]LayoutVertex, len(l.vertices))
	for i := range l.vertices {
		v := &l.vertices[i]
		vertices[i] = LayoutVertex{Layer: v.layer, Y: v.y, To: slices.Clone(v.right)}
		if v.object != nil {
			vertices[i].Path = v.object.Path
		}
	}
	return vertices
}
