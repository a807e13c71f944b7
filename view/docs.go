package view

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"pix/docs"
)

// A docsPageJSON describes a page of the documentation. Contents is missing in the list of pages.
type docsPageJSON struct {
	Name     string `json:"name"`
	Part     string `json:"part"`
	Title    string `json:"title"`
	Summary  string `json:"summary"`
	Contents []any  `json:"contents,omitempty"` // see docsTree
}

// A docsMatchJSON is a section that a search has found, as in the output of 'pix docs --search --json'.
type docsMatchJSON struct {
	Page    string `json:"page"`
	Anchor  string `json:"anchor"`
	Title   string `json:"title"`
	Excerpt string `json:"excerpt"`
}

// A docsElementJSON is an element of a page. The page in the browser makes elements from an allow list only.
type docsElementJSON struct {
	Tag      string `json:"tag"`
	ID       string `json:"id,omitempty"`
	Href     string `json:"href,omitempty"`
	Children []any  `json:"children,omitempty"`
}

const (
	maxDocsQuery   = 200 // bytes
	maxDocsMatches = 30
)

// serveDocs answers with the list of pages, with one page, or with the sections that have the words of a query.
func (h *Handler) serveDocs(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	switch {
	case query.Has("page"):
		return serveDocsPage(w, r, query.Get("page"))
	case query.Has("q"):
		return serveDocsMatches(w, r, query.Get("q"))
	}
	pages := []docsPageJSON{}
	for _, p := range docs.Pages() {
		pages = append(pages, docsPageJSON{Name: p.Name, Part: p.Part, Title: p.Title, Summary: p.Summary})
	}
	return writeJSON(w, r, pages)
}

func serveDocsPage(w http.ResponseWriter, r *http.Request, name string) error {
	p, ok := docs.Get(name)
	if !ok {
		return errNoPage
	}
	link := func(page, anchor string) string { return "#" + DocsAddress(page, anchor, "") }
	text, err := docs.HTML(p, &docs.HTMLOptions{Link: link, IDPrefix: "docs-"})
	if err != nil {
		return err
	}
	tree, err := docsTree(text)
	if err != nil {
		return err
	}
	return writeJSON(w, r, docsPageJSON{Name: p.Name, Part: p.Part, Title: p.Title, Summary: p.Summary, Contents: tree})
}

// DocsAddress returns the address of a section of the documentation within the page, of a whole page of it, or of a search. It
// can follow a token in the fragment of the address that opens the page.
func DocsAddress(page, anchor, query string) string {
	address := "/docs"
	if page != "" {
		address += "/" + page
	}
	parameters := url.Values{}
	if anchor != "" {
		parameters.Set("at", anchor)
	}
	if query != "" {
		parameters.Set("q", query)
	}
	if len(parameters) > 0 {
		address += "?" + parameters.Encode()
	}
	return address
}

func serveDocsMatches(w http.ResponseWriter, r *http.Request, query string) error {
	if len(query) > maxDocsQuery {
		return &statusError{http.StatusBadRequest, "the search has too many words"}
	}
	matches := []docsMatchJSON{}
	for _, m := range docs.Search(query) {
		if len(matches) == maxDocsMatches {
			break
		}
		matches = append(matches, docsMatchJSON{m.Page.Name, m.Section.Anchor, m.Section.Title, m.Excerpt})
	}
	return writeJSON(w, r, matches)
}

// docsTree returns the nodes of well-formed XML: a string for a text, and a *docsElementJSON for an element. The page in
// the browser has no function that parses markup, so it gets the tree.
func docsTree(text string) ([]any, error) {
	root := new(docsElementJSON)
	open := []*docsElementJSON{root}
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root.Children, nil
		}
		if err != nil {
			return nil, err
		}
		parent := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			element := newDocsElement(token)
			parent.Children = append(parent.Children, element)
			open = append(open, element)
		case xml.EndElement: // the decoder checks that each one ends the last open element
			open = open[:len(open)-1]
		case xml.CharData:
			parent.Children = append(parent.Children, string(token))
		}
	}
}

func newDocsElement(start xml.StartElement) *docsElementJSON {
	element := &docsElementJSON{Tag: start.Name.Local}
	for _, a := range start.Attr {
		switch a.Name.Local {
		case "id":
			element.ID = a.Value
		case "href":
			element.Href = a.Value
		}
	}
	return element
}
