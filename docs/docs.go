package docs

import (
	"embed"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed *.md
var files embed.FS

// A Page is a text about one topic.
type Page struct {
	Name     string // the name of its file without the extension, such as "store-paths"
	Part     string // the part of the documentation to which it belongs
	Title    string // its first heading
	Summary  string // what a reader learns, in one line
	Markdown string
}

// background is the part about pix itself.
const background = "Background"

// A part is a group of pages.
type part struct {
	title string
	pages []entry
}

// An entry is a page in the table of contents.
type entry struct{ name, summary string }

// contents is the table of contents. A reader who knows nothing of Nix can read the pages in this order.
var contents = []part{
	{"How Nix works", []entry{
		{"hashes", "digests, their spellings, and the fold to 160 bits"},
		{"base-32", "the alphabet of Nix, and its reversed order of bits"},
		{"nar", "one sequence of bytes for each file tree"},
		{"store-paths", "what the hash part of a path is the hash of"},
		{"derivations", "build steps as files, and how the paths of outputs follow from them"},
		{"packages", "declare packages in Go, also on the stdenv of nixpkgs"},
		{"explain", "each step of the computation of a path or a hash, with its bytes"},
		{"overlays", "sets of packages, what a change rebuilds, and a compiler in stages"},
		{"how-a-build-is-made", "from a declaration to a valid path, step by step"},
		{"garbage-collection", "what keeps a path, what a collection deletes, and in which order"},
	}},
	{"How to use pix", []entry{
		{"questions", "questions of users of Nix, and the command that answers each"},
		{"building", "sandboxes, other machines, and what to enable"},
		{"profiles", "switch between versions, go back, delete old ones"},
		{"stores", "read-only mounts, full disks, power cuts, network file systems"},
		{"daemon", "serve a store to other users and machines"},
		{"monitor", "see what a client and a daemon say to each other"},
		{"pushing", "copy new paths to a binary cache"},
		{"serving", "serve a store over HTTP as a binary cache"},
	}},
	{"Formats between machines", []entry{
		{"binary-cache", "the files of a cache, and its signatures"},
		{"protocol", "the messages between a client and the daemon"},
	}},
	{"Reference", []entry{
		{"command", "each verb with its flags and examples"},
		{"settings", "the settings of nix.conf that pix obeys"},
		{"json", "the output of --json"},
	}},
	{background, []entry{
		{"design", "the decisions and their reasons"},
		{"field-notes", "facts about Nix that its manual does not have"},
		{"performance", "measurements of pix and other programs"},
	}},
}

// load reads all pages once, in the order of contents. A page that is not in it comes last.
var load = sync.OnceValue(func() []*Page {
	names, err := fs.Glob(files, "*.md")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	left := make(map[string]bool)
	for _, name := range names {
		left[strings.TrimSuffix(name, ".md")] = true
	}
	var pages []*Page
	for _, part := range contents {
		for _, e := range part.pages {
			if left[e.name] {
				pages = append(pages, read(e, part.title))
				delete(left, e.name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		pages = append(pages, read(entry{name: name}, ""))
	}
	return pages
})

// read reads an embedded page.
func read(e entry, part string) *Page {
	text, err := files.ReadFile(e.name + ".md")
	if err != nil {
		panic(err) // an embedded file cannot be missing
	}
	p := &Page{Name: e.name, Part: part, Summary: e.summary, Markdown: string(text)}
	if sections := p.Sections(); len(sections) > 0 {
		p.Title = sections[0].Title
	}
	return p
}

// Pages returns all pages in reading order. The caller may change the slice and the pages.
func Pages() []*Page {
	var pages []*Page
	for _, p := range load() {
		pages = append(pages, new(*p))
	}
	return pages
}

// Get returns the page with a name, which may end in ".md". The caller may change the page.
func Get(name string) (p *Page, ok bool) {
	name = strings.TrimSuffix(name, ".md")
	for _, p := range load() {
		if p.Name == name {
			return new(*p), true
		}
	}
	return nil, false
}
