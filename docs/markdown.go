package docs

import (
	"io/fs"
	"net/url"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown reads the parts of the Markdown of GitHub that the pages use. The parser and the renderer can be shared
// between goroutines.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
	goldmark.WithRendererOptions(html.WithXHTML()),
)

// parse returns the tree of a page.
func parse(source []byte) ast.Node { return markdown.Parser().Parse(text.NewReader(source)) }

// plain returns the text in a node without markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.Write(unescape(c, source))
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(c.Value)
		case *ast.AutoLink:
			b.Write(c.Label(source))
		case *ast.RawHTML:
		default:
			b.WriteString(plain(c, source))
		}
	}
	return b.String()
}

// A target is the place to which a link leads: another page or a section of it, or a URL elsewhere. It has neither for a
// file of the repository, which is not a page, and for a URL that is not safe to follow.
type target struct{ page, anchor, url string }

// targetOf returns the target of a link on a page.
func targetOf(page, destination string) target {
	name, anchor, _ := strings.Cut(destination, "#")
	if name == "" {
		return target{page: page, anchor: anchor}
	}
	if name, ok := strings.CutSuffix(name, ".md"); ok && known(name) {
		return target{page: name, anchor: anchor}
	}
	if u, err := url.Parse(destination); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return target{url: destination}
	}
	return target{}
}

// known reports whether there is a page with this name.
func known(name string) bool {
	_, err := fs.Stat(files, name+".md")
	return err == nil
}

// unescape returns the text of a node without backslashes, character references, and the control characters for which
// references may stand.
func unescape(n *ast.Text, source []byte) []byte {
	value := n.Value(source)
	if n.IsRaw() {
		return value
	}
	value = util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(value)))
	return []byte(withoutControls(string(value)))
}

// withoutControls returns a text without control characters, except line feeds and tabs. A terminal would obey them, and
// XML forbids them.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, s)
}
