package closure

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"strconv"
	"unicode/utf8"

	"pix/internal/sizes"
)

// Widths in a picture, in pixels. The font is monospaced, so the width of a text is known.
const (
	fontSize        = 11
	letterWidth     = 6.7
	sizeLetterWidth = 5.5 // in the size of an object, which has a smaller font
	boxPadding      = 8.0 // on both sides of the text
	pictureMargin   = 16.0
	layerGap        = 56.0 // between two layers, for the bends of edges
	maxNameLen      = 48   // in bytes; longer names are shortened
)

// edgeColours distinguish edges to different paths. They are dark enough for white paper.
var edgeColours = []string{"#5b7fa6", "#b07d48", "#6a9955", "#a2678a", "#4f9a94", "#8a76b8", "#9a8b3c", "#b4605c"}

// A svgWriter draws a layout.
type svgWriter struct {
	*Layout
	out   *bufio.Writer
	left  []float64 // the left side of each layer
	right []float64
}

// WriteSVG draws the layout as an SVG image. Each path is a box with its name and size, and its store path as a
// tooltip.
func (l *Layout) WriteSVG(w io.Writer) error {
	s := &svgWriter{Layout: l, out: bufio.NewWriterSize(w, 64<<10), left: make([]float64, len(l.layers)), right: make([]float64, len(l.layers))}
	x, bottom := pictureMargin, 0.0
	for i, layer := range l.layers {
		width := 0.0
		for _, v := range layer {
			width = max(width, l.vertices[v].width())
			bottom = max(bottom, l.vertices[v].y+l.vertices[v].height()/2)
		}
		s.left[i], s.right[i] = x, x+width
		x += width + layerGap
	}
	s.draw(max(x-layerGap, pictureMargin)+pictureMargin, bottom+2*pictureMargin)
	return s.out.Flush()
}

// width returns the width of a box; 0 for a waypoint.
func (v *vertex) width() float64 {
	if v.object == nil {
		return 0
	}
	name, size := v.labels()
	return 2*boxPadding + letterWidth*float64(utf8.RuneCountInString(name)+1) + sizeLetterWidth*float64(len(size))
}

// labels returns the texts in a box.
func (v *vertex) labels() (name, size string) {
	name = v.object.Path.Name()
	if len(name) > maxNameLen {
		name = name[:maxNameLen/2] + "…" + name[len(name)-maxNameLen/2+1:]
	}
	return name, sizes.Human(v.object.NARSize)
}

func (s *svgWriter) draw(width, height float64) {
	fmt.Fprintf(s.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="%[3]d">
`, px(width), px(height), fontSize)
	s.out.WriteString(`<style>.p{fill:#fff;stroke:#8493a5}.r{fill:#e6effa;stroke:#2f6fb7}.s{fill:#7b8794;font-size:9px}.e{fill:none;stroke-width:1.2;stroke-opacity:.75}.many .e{stroke-width:.6;stroke-opacity:.25}</style>
`)
	fmt.Fprintf(s.out, `<rect width="%s" height="%s" fill="#fff"/>`+"\n", px(width), px(height))
	if !s.Simplified {
		s.out.WriteString("<g>\n")
	} else {
		s.out.WriteString(`<g class="many">` + "\n")
	}
	for i := range s.vertices {
		for _, to := range s.vertices[i].right {
			s.drawEdge(&s.vertices[i], &s.vertices[to])
		}
	}
	s.out.WriteString("</g>\n")
	for i := range s.vertices {
		if s.vertices[i].object != nil {
			s.drawPath(&s.vertices[i])
		}
	}
	s.out.WriteString("</svg>\n")
}

// drawEdge draws an edge between two vertices: a curve that begins and ends horizontally. At a waypoint it
// continues straight through the layer; at a path it ends with an arrow.
func (s *svgWriter) drawEdge(from, to *vertex) {
	start, end := s.left[from.layer]+from.width(), s.left[to.layer]
	if from.object == nil {
		start = s.right[from.layer]
	}
	y, toY := from.y+pictureMargin, to.y+pictureMargin
	path := fmt.Sprintf("M%s %s", px(start), px(y))
	gap := s.right[to.layer-1] // the curve is in the gap to the left of the layer
	if gap > start {
		path += fmt.Sprintf("H%s", px(gap))
	}
	bend := (end - gap) / 2
	path += fmt.Sprintf("C%s %s %s %s %s %s", px(gap+bend), px(y), px(end-bend), px(toY), px(end), px(toY))
	if to.object == nil {
		path += "H" + px(s.right[to.layer])
	} else {
		path += "l-5 -3m5 3l-5 3"
	}
	fmt.Fprintf(s.out, `<path class="e" stroke="%s" d="%s"/>`+"\n", edgeColours[to.target%len(edgeColours)], path)
}

func (s *svgWriter) drawPath(v *vertex) {
	class := "p"
	if len(v.left) == 0 {
		class = "r" // a root of the picture
	}
	name, size := v.labels()
	x, y, width := s.left[v.layer], v.y+pictureMargin-pathHeight/2, v.width()
	fmt.Fprintf(s.out, `<g><title>%s, %s</title><rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="4"/>`,
		html.EscapeString(string(v.object.Path)), size, class, px(x), px(y), px(width), px(pathHeight))
	fmt.Fprintf(s.out, `<text x="%s" y="%s">%s</text>`, px(x+boxPadding), px(y+14), html.EscapeString(name))
	fmt.Fprintf(s.out, `<text class="s" text-anchor="end" x="%s" y="%s">%s</text></g>`+"\n", px(x+width-boxPadding), px(y+13.5), size)
}

// px formats a number of pixels, rounded to one decimal.
func px(f float64) string { return strconv.FormatFloat(float64(int64(f*10+0.5))/10, 'f', -1, 64) }
