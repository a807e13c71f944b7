package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor = regexp.MustCompile(`[^\w\- ]`)
)

// Each link from a page to another page, and to a heading in it, has a target.
func TestLinks(t *testing.T) {
	all, err := filepath.Glob("*.md")
	checkErr(t, err)
	for _, page := range append(all, "../README.md") {
		text, err := os.ReadFile(page)
		checkErr(t, err)
		for _, m := range link.FindAllStringSubmatch(withoutCode(string(text)), -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			b, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: a link to %s, which does not exist", page, m[1])
				continue
			}
			if anchor := strings.TrimPrefix(m[2], "#"); anchor != "" && !anchors(string(b))[anchor] {
				t.Errorf("%s: a link to %s%s, which has no such heading", page, m[1], m[2])
			}
		}
	}
}

// anchors returns the anchors of a page's headings.
func anchors(page string) map[string]bool {
	names := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(withoutCode(page), -1) {
		name := noAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

// withoutCode returns a page without its fenced blocks.
func withoutCode(page string) string {
	var b strings.Builder
	for i, part := range strings.Split(page, "```") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}
