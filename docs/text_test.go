package docs_test

import (
	"strings"
	"testing"

	"pix/docs"
)

const textPage = "# The title\n\nSome *words* and `code` that are [linked](building.md#the-sandbox), [nar.md](nar.md), [here](#x), [there](https://go.dev) and [in Go](x.go).\n\n" +
	"- one\n- two, which is so long that it needs two lines\n  1. a\n  2. b\n\n## Facts\n\n| name | what it is |\n|---|---|\n| `a` | short |\n| b | a text that is too long for one line of this table |\n\n```go x\nfunc f() {\n\treturn\n}\n```\n"

func TestText(t *testing.T) {
	want := "The title\n=========\n\n" +
		"  Some words and `code` that are linked\n  (building#the-sandbox), nar.md, here,\n  there <https://go.dev> and in Go.\n\n" +
		"  - one\n  - two, which is so long that it needs\n    two lines\n    1. a\n    2. b\n\n" +
		"Facts\n\n  name  what it is\n  ----  --------------------------------\n  `a`   short\n  b     a text that is too long for one\n        line of this table\n\n" +
		"    func f() {\n    \treturn\n    }\n"
	page := &docs.Page{Name: "x", Markdown: textPage}
	if got := docs.Text(page, &docs.TextOptions{Columns: 40}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	colored := docs.Text(page, &docs.TextOptions{Columns: 40, Color: true})
	for _, part := range []string{"\x1b[1mThe\x1b[0m \x1b[1mtitle\x1b[0m\n", "\x1b[36mcode\x1b[0m", "\x1b[1mwords\x1b[0m"} {
		if !strings.Contains(colored, part) {
			t.Errorf("%q does not have %q", colored, part)
		}
	}
}

// A page with escape sequences gives none.
func TestTextHasNoControls(t *testing.T) {
	text := docs.Text(&docs.Page{Markdown: "# a\x1b[31m\n\nb\x07 `\x1b]0;x\x07` &#27;[31m \u009b31m\n\n```\n\x1b[2J\r\n```\n"}, nil)
	if strings.ContainsAny(text, "\x1b\x07\r\u009b") {
		t.Errorf("got %q", text)
	}
}

// Every page fits into its columns, except code, tables with long words, and URLs.
func TestTextOfPages(t *testing.T) {
	for _, p := range docs.Pages() {
		text := docs.Text(p, &docs.TextOptions{Columns: 72})
		if !strings.HasPrefix(text, p.Title+"\n===") {
			t.Errorf("%s begins with %.80q", p.Name, text)
		}
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimSpace(line))); n > 72 && strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "    ") && len(strings.Fields(line)) > 1 && !strings.Contains(line, "  ") {
				t.Errorf("%s: a line of %d columns: %s", p.Name, n, line)
			}
		}
	}
}
