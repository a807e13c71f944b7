package docs

import (
	"bytes"

	"github.com/yuin/goldmark/ast"
)

// HTMLOptions say how a page is part of a larger one. The zero value is for a page alone.
type HTMLOptions struct {
	// Link returns the URL of a section of a page, or of the whole page if the anchor is "". Without it the URL is
	// "#ANCHOR" in the same page, and "PAGE.html#ANCHOR" in another one.
	Link func(page, anchor string) string
	// IDPrefix is a prefix of the attributes id of headings. It keeps them apart from other elements of the document.
	IDPrefix string
}

// HTML returns a page as a fragment of HTML, which is well-formed XML, too. Each heading has its anchor as its id. Markup
// in the page is left out, images become their text, and so do links that lead neither to a page nor to a URL with http or
// https. Links to other sites have rel="noopener noreferrer". The classes "language-…" of blocks name their languages.
func HTML(p *Page, o *HTMLOptions) (string, error) {
	if o == nil {
		o = new(HTMLOptions)
	}
	source := []byte(p.Markdown)
	root := parse(source)
	h := htmlPage{page: p, options: o, source: source, anchors: make(anchors)}
	h.prepare(root)
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, source, root); err != nil {
		return "", err
	}
	return withoutControls(b.String()), nil
}

// An htmlPage prepares the tree of a page for the renderer.
type htmlPage struct {
	page    *Page
	options *HTMLOptions
	source  []byte
	anchors anchors
}

// prepare gives ids to headings, rewrites links, and replaces nodes that must not be rendered.
func (h *htmlPage) prepare(n ast.Node) {
	for c := n.FirstChild(); c != nil; {
		next := c.NextSibling()
		switch c := c.(type) {
		case *ast.RawHTML, *ast.HTMLBlock:
			n.RemoveChild(n, c)
		case *ast.Image:
			n.ReplaceChild(n, c, ast.NewString([]byte(plain(c, h.source))))
		case *ast.AutoLink:
			label := ast.NewString(c.Label(h.source))
			link := ast.NewLink()
			link.Destination = c.URL(h.source)
			link.AppendChild(link, label)
			n.ReplaceChild(n, c, link)
			h.link(n, link)
		case *ast.Link:
			h.prepare(c)
			h.link(n, c)
		case *ast.Heading:
			if n.Kind() == ast.KindDocument && c.Lines().Len() > 0 { // as Sections counts them
				c.SetAttributeString("id", []byte(h.options.IDPrefix+h.anchors.next(plain(c, h.source))))
			}
			h.prepare(c)
		default:
			h.prepare(c)
		}
		c = next
	}
}

// link sets the URL of a link, or replaces the link by its text.
func (h *htmlPage) link(parent ast.Node, link *ast.Link) {
	to := targetOf(h.page.Name, string(link.Destination))
	switch {
	case to.page != "":
		link.Destination = []byte(h.url(to))
	case to.url != "":
		link.SetAttributeString("rel", []byte("noopener noreferrer"))
	default:
		for c := link.FirstChild(); c != nil; {
			next := c.NextSibling()
			parent.InsertBefore(parent, link, c)
			c = next
		}
		parent.RemoveChild(parent, link)
	}
}

// url returns the URL of a page or a section.
func (h *htmlPage) url(to target) string {
	switch {
	case h.options.Link != nil:
		return h.options.Link(to.page, to.anchor)
	case to.page == h.page.Name:
		return "#" + to.anchor
	case to.anchor == "":
		return to.page + ".html"
	}
	return to.page + ".html#" + to.anchor
}
