package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/docs"
)

// Every page of the directory is in the table of contents, with a title and a summary of one line.
func TestContents(t *testing.T) {
	all, err := filepath.Glob("*.md")
	checkErr(t, err)
	listed := docs.Pages()
	for _, p := range listed {
		text, err := os.ReadFile(p.Name + ".md")
		checkErr(t, err)
		if string(text) != p.Markdown && !*update { // another test has just written the page
			t.Errorf("the text of %s is not its file", p.Name)
		}
		if !strings.HasPrefix(p.Markdown, "# "+p.Title+"\n") || p.Title == "" || len(p.Summary) > 80 {
			t.Errorf("%s: title %q, summary %q", p.Name, p.Title, p.Summary)
		}
	}
	for _, file := range all {
		if p, ok := docs.Get(file); !ok || p.Part == "" {
			t.Errorf("%s is not in the table of contents, the variable contents in docs.go", file)
		}
	}
	if len(listed) != len(all) {
		t.Errorf("%d pages, and %d files", len(listed), len(all))
	}
	if _, ok := docs.Get("../README"); ok {
		t.Error("the README is a page")
	}
}

// A caller that changes a page changes its own copy.
func TestPagesAreCopies(t *testing.T) {
	docs.Pages()[0].Title = "changed"
	p, ok := docs.Get(docs.Pages()[0].Name)
	if !ok || p.Title == "changed" {
		t.Error("a page was changed")
	}
	p.Markdown = ""
	if docs.Pages()[0].Markdown == "" {
		t.Error("a page was changed")
	}
}

// The anchors are the same as on GitHub.
func TestAnchors(t *testing.T) {
	page := &docs.Page{Markdown: "# One, two & three\n\n## `pix gc`: what_is it?\n\n## Same\n\n## Same\n\n## Same-1\n\n## Über *uns* [here](x.md)\n\n" +
		"```\n# no heading\n```\n\n### 1. A – b / c\n"}
	want := []string{"one-two--three", "pix-gc-what_is-it", "same", "same-1", "same-1-1", "über-uns-here", "1-a--b--c"}
	for i, s := range page.Sections() {
		if i >= len(want) || s.Anchor != want[i] {
			t.Errorf("section %d is %+v", i, s)
		}
	}
	section, ok := page.Section("same-1-1")
	if !ok || section.Markdown != "## Same-1\n\n" || section.Title != "Same-1" {
		t.Errorf("got %+v", section)
	}
	if whole, ok := page.Section("one-two--three"); !ok || whole.Markdown != page.Markdown {
		t.Errorf("got %+v", whole)
	}
	if _, ok := page.Section("none"); ok {
		t.Error("a section that does not exist")
	}
}

// The sections of a page are its whole text.
func TestSections(t *testing.T) {
	for _, p := range docs.Pages() {
		var b strings.Builder
		for _, s := range p.Sections() {
			b.WriteString(s.Markdown)
		}
		if b.String() != p.Markdown {
			t.Errorf("the sections of %s are not the page", p.Name)
		}
	}
}
