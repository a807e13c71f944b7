package docs

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/ast"
)

// A Section is a heading of a page and the text below it, up to the next heading.
type Section struct {
	Level    int    // 1 for the title of the page
	Title    string // the heading as plain text
	Anchor   string // the name of the heading in a link, as on GitHub
	Markdown string // the text, with the heading

	start, end int // its place in the page
}

// Sections returns the sections of the page in order. A text before the first heading belongs to no section.
func (p *Page) Sections() []Section {
	source := []byte(p.Markdown)
	var all []Section
	names := make(anchors)
	root := parse(source)
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok || h.Lines().Len() == 0 {
			continue
		}
		title := plain(h, source)
		start := strings.LastIndexByte(p.Markdown[:h.Lines().At(0).Start], '\n') + 1
		all = append(all, Section{Level: h.Level, Title: title, Anchor: names.next(title), start: start})
	}
	for i := range all {
		all[i].end = len(p.Markdown)
		if i+1 < len(all) {
			all[i].end = all[i+1].start
		}
		all[i].Markdown = p.Markdown[all[i].start:all[i].end]
	}
	return all
}

// Section returns the section with an anchor, and the sections below it, as a page of its own.
func (p *Page) Section(anchor string) (section *Page, ok bool) {
	all := p.Sections()
	for i, s := range all {
		if s.Anchor != anchor {
			continue
		}
		end := s.end
		for _, below := range all[i+1:] {
			if below.Level <= s.Level {
				break
			}
			end = below.end
		}
		section = new(*p)
		section.Title, section.Markdown = s.Title, p.Markdown[s.start:end]
		return section, true
	}
	return nil, false
}

// anchors has the anchors of a page, with the number of headings that would have the same.
type anchors map[string]int

// next returns the anchor of the next heading: its letters in lower case, with a hyphen for each space. A second heading
// with the same title gets a number.
func (a anchors) next(title string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
	unique := name
	for {
		if _, taken := a[unique]; !taken {
			break
		}
		a[name]++
		unique = name + "-" + strconv.Itoa(a[name])
	}
	a[unique] = 0
	return unique
}
