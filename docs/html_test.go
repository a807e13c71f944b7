package docs_test

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/docs"
)

// elements are the elements that a page may have in HTML, with their attributes.
var elements = map[string][]string{
	"h1": {"id"}, "h2": {"id"}, "h3": {"id"}, "h4": {"id"}, "h5": {"id"}, "h6": {"id"},
	"p": nil, "ul": nil, "ol": {"start"}, "li": nil, "em": nil, "strong": nil, "code": {"class"}, "pre": nil, "blockquote": nil, "hr": nil, "br": nil,
	"a": {"href", "rel", "title"}, "table": nil, "thead": nil, "tbody": nil, "tr": nil, "th": {"align"}, "td": {"align"},
}

// checkHTML checks that a text is well-formed and has only these elements, and links to http, https and the view.
func checkHTML(t *testing.T, name, text string) (ids []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader("<page>" + text + "</page>"))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return ids
		}
		if err != nil {
			t.Errorf("%s: %v in %q", name, err, text)
			return ids
		}
		switch token := token.(type) {
		case xml.Comment, xml.Directive, xml.ProcInst:
			t.Errorf("%s: %T in %q", name, token, text)
		case xml.StartElement:
			allowed, ok := elements[token.Name.Local]
			if !ok && token.Name.Local != "page" {
				t.Errorf("%s: element %s in %q", name, token.Name.Local, text)
			}
			for _, a := range token.Attr {
				if !slices.Contains(allowed, a.Name.Local) {
					t.Errorf("%s: attribute %s of %s in %q", name, a.Name.Local, token.Name.Local, text)
				}
				if v := a.Value; a.Name.Local == "href" && !strings.HasPrefix(v, "https://") && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "#view/") {
					t.Errorf("%s: a link to %q", name, v)
				}
				if a.Name.Local == "id" {
					ids = append(ids, a.Value)
				}
			}
		}
	}
}

var viewOptions = &docs.HTMLOptions{Link: func(page, anchor string) string { return "#view/" + page + "/" + anchor }}

// hostile are texts that would run a script, load something or leave the page, if they were obeyed.
var hostile = []string{
	"<script>alert(1)</script>", "a <script>alert(1)</script> b", "<img src=x onerror=alert(1)>", "a <b onclick=alert(1)>b</b>",
	"<div>\n\n<iframe src=//evil></iframe>\n\n</div>", "<!-- --><script>alert(1)</script>", "<svg/onload=alert(1)>", "<?php x ?>", "<![CDATA[<script>]]>",
	"[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](java&#115;cript:alert(1))", "[a](java\\script:x)", "[a](&#106;avascript:x)",
	"[a](<javascript:alert(1)>)", "[a]( javascript:alert(1))", "[a](data:text/html;base64,PHNjcmlwdD4=)", "[a](vbscript:x)", "[a](//evil/x)", "[a](/etc/passwd)",
	"[a](file:///etc/passwd)", "[a](../x.go)", "[a](none.md)", "[a](https:evil)", "[a](http:///x)", "[a]: javascript:x\n\n[a]", "<javascript:alert(1)>", "<mailto:a@example.org>", "<a@example.org>",
	"![a](https://example.org/x.png)", "![a](javascript:x)", "[![a](x)](javascript:x)", "[a](https://example.org \"\\\"onclick=alert(1) x=\\\"\")",
	"[a](https://example.org/\"onclick=alert(1))", "[a](https://example.org/?a=<script>&b='x')", "<https://example.org/\"onclick=x>",
	"# <script>x</script> \"onclick=x\" id", "# a {#b onclick=alert(1)}", "``` \"><script>alert(1)</script>\nx\n```", "```js\" onclick=\"x\n</code></pre><script>\n```", "`</code><script>`",
	"    </code></pre><script>alert(1)</script>", "| a |\n|---|\n| <script>x</script> |", "| a {onclick=x} |\n|:-:|\n| [b](javascript:x) |", "&lt;script&gt;&#60;script>", "\u2028\u2029\u202e</p>", "a\x00b", "[a](building.md#\"><script>)",
	"[a](#x\" onclick=\"x)", "- [ ] <input autofocus onfocus=x>", "<a href=\"javascript:x\">y</a>", "*<b>*</b>", "\\<script\\>", "[<img src=x>](https://example.org)", strings.Repeat("[", 500) + "a" + strings.Repeat("](x)", 500), strings.Repeat("> ", 200) + "x",
}

func TestHTMLHostile(t *testing.T) {
	for _, text := range hostile {
		html, err := docs.HTML(&docs.Page{Name: "x", Markdown: text}, viewOptions)
		checkErr(t, err)
		checkHTML(t, text, html)
	}
}

// Each page has well-formed HTML, with the anchors of its sections, and no link is lost.
func TestHTMLOfPages(t *testing.T) {
	for _, p := range docs.Pages() {
		html, err := docs.HTML(p, viewOptions)
		checkErr(t, err)
		var want []string
		for _, s := range p.Sections() {
			want = append(want, s.Anchor)
		}
		if ids := checkHTML(t, p.Name, html); !slices.Equal(ids, want) {
			t.Errorf("%s has the ids %q, want %q", p.Name, ids, want)
		}
	}
}

func TestHTMLLinks(t *testing.T) {
	for _, c := range []struct{ text, alone, view string }{
		{"[a](building.md)", `<a href="building.html">a</a>`, `<a href="#view/building/">a</a>`},
		{"[a](building.md#the-sandbox)", `<a href="building.html#the-sandbox">a</a>`, `<a href="#view/building/the-sandbox">a</a>`},
		{"[a](#b)", `<a href="#b">a</a>`, `<a href="#view/x/b">a</a>`},
		{"[a *b*](x_test.go)", `a <em>b</em>`, `a <em>b</em>`},
		{"<https://go.dev>", `<a href="https://go.dev" rel="noopener noreferrer">https://go.dev</a>`, `<a href="https://go.dev" rel="noopener noreferrer">https://go.dev</a>`},
		{"![a *b*](x.png)", `a b`, `a b`},
		{"a <b>c</b>", `a c`, `a c`},
	} {
		for options, want := range map[*docs.HTMLOptions]string{nil: c.alone, viewOptions: c.view} {
			html, err := docs.HTML(&docs.Page{Name: "x", Markdown: c.text}, options)
			checkErr(t, err)
			if html != "<p>"+want+"</p>\n" {
				t.Errorf("%s: %q, want %q", c.text, html, want)
			}
		}
	}
}

// Any text gives HTML of the same kind.
func FuzzHTML(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		html, err := docs.HTML(&docs.Page{Name: "x", Markdown: text}, viewOptions)
		checkErr(t, err)
		checkHTML(t, text, html)
		docs.Text(&docs.Page{Name: "x", Markdown: text}, nil)
	})
}
