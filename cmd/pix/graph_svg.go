package main

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"pix/store"
	"pix/storepath"
)

// More measures of a picture, in pixels. The font has letters of equal widths, so that it is
// known how wide a text is.
const (
	fontSize    = 11
	letterWidth = 6.7
	sizeLetter  = 5.5 // of the size of an object, which is written smaller
	padding     = 8.0 // on both sides of the text in a box
	margin      = 16.0
	layerGap    = 56.0 // between two layers; edges bend there
	longestName = 48   // letters of a name that are shown
)

// edgeColours tell edges to different paths apart. They are dark enough for white paper.
var edgeColours = []string{"#5b7fa6", "#b07d48", "#6a9955", "#a2678a", "#4f9a94", "#8a76b8", "#9a8b3c", "#b4605c"}

// A picture is a closure as it is drawn.
type picture struct {
	*layered
	b     strings.Builder
	left  []float64 // the left side of each layer
	right []float64
}

// svgGraph draws a closure as an SVG image.
func svgGraph(known map[storepath.Path]*store.PathInfo) (svg string, careful bool, err error) {
	g, err := inLayers(known)
	if err != nil {
		return "", false, err
	}
	p := &picture{layered: g, left: make([]float64, len(g.layers)), right: make([]float64, len(g.layers))}
	x, bottom := margin, 0.0
	for i, layer := range g.layers {
		width := 0.0
		for _, v := range layer {
			width = max(width, g.vertices[v].width())
			bottom = max(bottom, g.vertices[v].y+g.vertices[v].height()/2)
		}
		p.left[i], p.right[i] = x, x+width
		x += width + layerGap
	}
	p.draw(max(x-layerGap, margin)+margin, bottom+2*margin)
	return p.b.String(), g.careful, nil
}

// width returns the width of a box.
func (v *vertex) width() float64 {
	if v.info == nil {
		return 0
	}
	name, size := v.labels()
	return 2*padding + letterWidth*float64(utf8.RuneCountInString(name)+1) + sizeLetter*float64(len(size))
}

// labels returns what stands in a box.
func (v *vertex) labels() (name, size string) {
	name = v.info.Path.Name()
	if len(name) > longestName {
		name = name[:longestName/2] + "…" + name[len(name)-longestName/2+1:]
	}
	return name, humanSize(v.info.NARSize)
}

func (p *picture) draw(width, height float64) {
	fmt.Fprintf(&p.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="%[3]d">
`, px(width), px(height), fontSize)
	p.b.WriteString(`<style>.p{fill:#fff;stroke:#8493a5}.r{fill:#e6effa;stroke:#2f6fb7}.s{fill:#7b8794;font-size:9px}.e{fill:none;stroke-width:1.2;stroke-opacity:.75}.many .e{stroke-width:.6;stroke-opacity:.25}</style>
`)
	fmt.Fprintf(&p.b, `<rect width="%s" height="%s" fill="#fff"/>`+"\n", px(width), px(height))
	if p.careful {
		p.b.WriteString("<g>\n")
	} else {
		p.b.WriteString(`<g class="many">` + "\n")
	}
	for i := range p.vertices {
		for _, to := range p.vertices[i].behind {
			p.drawEdge(&p.vertices[i], &p.vertices[to])
		}
	}
	p.b.WriteString("</g>\n")
	for i := range p.vertices {
		if p.vertices[i].info != nil {
			p.drawPath(&p.vertices[i])
		}
	}
	p.b.WriteString("</svg>\n")
}

// drawEdge draws the part of an edge that leads from one vertex to the next: a curve that
// begins and ends horizontally. Where the next is a waypoint, it goes on straight through the
// layer; where it is a path, it ends with an arrow.
func (p *picture) drawEdge(from, to *vertex) {
	start, end := p.left[from.layer]+from.width(), p.left[to.layer]
	if from.info == nil {
		start = p.right[from.layer]
	}
	y, toY := from.y+margin, to.y+margin
	path := fmt.Sprintf("M%s %s", px(start), px(y))
	gap := p.right[to.layer-1] // the curve is in the gap before the layer
	if gap > start {
		path += fmt.Sprintf("H%s", px(gap))
	}
	bend := (end - gap) / 2
	path += fmt.Sprintf("C%s %s %s %s %s %s", px(gap+bend), px(y), px(end-bend), px(toY), px(end), px(toY))
	if to.info == nil {
		path += "H" + px(p.right[to.layer])
	} else {
		path += "l-5 -3m5 3l-5 3"
	}
	fmt.Fprintf(&p.b, `<path class="e" stroke="%s" d="%s"/>`+"\n", edgeColours[to.to%len(edgeColours)], path)
}

func (p *picture) drawPath(v *vertex) {
	class := "p"
	if len(v.before) == 0 {
		class = "r" // a root of the picture
	}
	name, size := v.labels()
	x, y, width := p.left[v.layer], v.y+margin-pathHeight/2, v.width()
	fmt.Fprintf(&p.b, `<g><title>%s, %s</title><rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="4"/>`,
		html.EscapeString(string(v.info.Path)), size, class, px(x), px(y), px(width), px(pathHeight))
	fmt.Fprintf(&p.b, `<text x="%s" y="%s">%s</text>`, px(x+padding), px(y+14), html.EscapeString(name))
	fmt.Fprintf(&p.b, `<text class="s" text-anchor="end" x="%s" y="%s">%s</text></g>`+"\n", px(x+width-padding), px(y+13.5), size)
}

// px spells a number of pixels.
func px(f float64) string { return strconv.FormatFloat(float64(int64(f*10+0.5))/10, 'f', -1, 64) }
