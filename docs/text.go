package docs

import (
	"strconv"
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// TextOptions say how a page is written for a terminal.
type TextOptions struct {
	Columns int  // the width of lines; 0 means 80
	Color   bool // use the escape sequences for bold text and colours
}

// indentText is the indentation of text below headings, and of code in text.
const indentText = "  "

// defaultColumns is the width of lines without [TextOptions.Columns].
const defaultColumns = 80

// The escape sequences of terminals.
const (
	bold  = "\x1b[1m"
	cyan  = "\x1b[36m"
	reset = "\x1b[0m"
)

// Text returns a page for a terminal: headings at the left, text filled into lines, tables in columns, and code as it is,
// in lines that may be longer. A link to another page is followed by the page's name in parentheses, which 'pix docs'
// takes, and a link elsewhere by its URL.
func Text(p *Page, o *TextOptions) string {
	w := textWriter{page: p.Name, source: []byte(withoutControls(p.Markdown)), columns: defaultColumns}
	if o != nil {
		w.color = o.Color
		if o.Columns > 0 {
			w.columns = o.Columns
		}
	}
	w.blocks(parse(w.source), indentText, indentText)
	return w.b.String()
}

// A textWriter writes a page.
type textWriter struct {
	b       strings.Builder
	page    string
	source  []byte
	columns int
	color   bool
}

// blocks writes the blocks in a node, with empty lines between them. The first line begins with first, and the others with
// rest.
func (w *textWriter) blocks(n ast.Node, first, rest string) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if c.Kind() == ast.KindHTMLBlock {
			continue
		}
		tight := c.PreviousSibling() != nil && c.PreviousSibling().Kind() == ast.KindTextBlock // in an item of a list
		if w.b.Len() > 0 && first == rest && c.Kind() != ast.KindTextBlock && !tight {
			w.b.WriteByte('\n')
		}
		w.block(c, first, rest)
		first = rest
	}
}

func (w *textWriter) block(n ast.Node, first, rest string) {
	switch n := n.(type) {
	case *ast.Heading:
		w.heading(n)
	case *ast.List:
		w.list(n, rest)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		for i := range n.Lines().Len() {
			line := n.Lines().At(i)
			w.line(rest+indentText, strings.TrimRight(string(line.Value(w.source)), "\n"))
		}
	case *extast.Table:
		w.table(n, rest)
	case *ast.Paragraph, *ast.TextBlock:
		w.fill(w.inline(n), first, rest)
	case *ast.ThematicBreak:
		w.line(rest, "* * *")
	default:
		w.blocks(n, first, rest+indentText)
	}
}

// line writes a line without spaces at its end.
func (w *textWriter) line(indent, text string) {
	w.b.WriteString(strings.TrimRight(indent+text, " ") + "\n")
}

// heading writes a heading. The title of a page is underlined.
func (w *textWriter) heading(n *ast.Heading) {
	title := plain(n, w.source)
	w.line("", w.styled(title, bold))
	if n.Level == 1 {
		w.line("", w.styled(strings.Repeat("=", len([]rune(title))), bold))
	}
}

// list writes the items of a list.
func (w *textWriter) list(n *ast.List, indent string) {
	number := n.Start
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		mark := "- "
		if n.IsOrdered() {
			mark = strconv.Itoa(number) + ". "
			number++
		}
		if item != n.FirstChild() && !n.IsTight {
			w.b.WriteByte('\n')
		}
		w.blocks(item, indent+mark, indent+strings.Repeat(" ", len(mark)))
	}
}

// fill writes words into lines.
func (w *textWriter) fill(text, first, rest string) {
	for i, line := range wrap(text, w.columns-len(rest)) {
		if i == 0 {
			w.line(first, line)
		} else {
			w.line(rest, line)
		}
	}
}

// inline returns the text of a block with its styles.
func (w *textWriter) inline(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.Write(unescape(c, w.source))
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.CodeSpan:
			b.WriteString(w.code(plain(c, w.source)))
		case *ast.Emphasis:
			b.WriteString(w.styled(w.inline(c), bold))
		case *ast.Link:
			b.WriteString(w.inline(c) + w.reference(targetOf(w.page, string(c.Destination)), plain(c, w.source)))
		case *ast.AutoLink:
			b.Write(c.Label(w.source))
		case *ast.RawHTML:
		default:
			b.WriteString(w.inline(c))
		}
	}
	return b.String()
}

// reference returns the addition to a link with this text. A text that is the name of the page needs none.
func (w *textWriter) reference(to target, text string) string {
	switch {
	case to.anchor == "" && strings.TrimSuffix(text, ".md") == to.page:
		return ""
	case to.url != "":
		return " <" + to.url + ">"
	case to.page == "" || to.page == w.page:
		return ""
	case to.anchor != "":
		return " (" + to.page + "#" + to.anchor + ")"
	}
	return " (" + to.page + ")"
}

// code returns code in a line: coloured, or in back quotes.
func (w *textWriter) code(s string) string {
	if w.color {
		return w.styled(s, cyan)
	}
	return "`" + s + "`"
}

// styled returns text in a style. Each word has the style of its own, because lines may be broken between them.
func (w *textWriter) styled(s, style string) string {
	if !w.color {
		return s
	}
	words := strings.Split(s, " ")
	for i, word := range words {
		if word != "" {
			words[i] = style + word + reset
		}
	}
	return strings.Join(words, " ")
}

// wrap breaks text between words into lines of at most n columns, except words that are longer.
func wrap(text string, n int) (lines []string) {
	line, at := "", 0
	for _, word := range strings.Fields(text) {
		length := width(word)
		if at > 0 && at+1+length > n {
			lines = append(lines, line)
			line, at = "", 0
		}
		if at > 0 {
			line += " "
			at++
		}
		line += word
		at += length
	}
	if at > 0 || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// width returns the columns of a text without its escape sequences.
func width(s string) (n int) {
	inside := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = r != 'm'
		default:
			n++
		}
	}
	return n
}
