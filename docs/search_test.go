package docs_test

import (
	"slices"
	"strings"
	"testing"

	"pix/docs"
)

// The page that a reader needs is the first match, or one of the first three.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		query, page string
		within      int
	}{
		{"profiles", "profiles", 1},
		{"garbage collection", "garbage-collection", 1},
		{"overlay", "overlays", 1},
		{"overlays bootstrap stage", "overlays", 1},
		{"power cut", "stores", 3},
		{"sandbox environment", "building", 3},
		{"base 32 alphabet", "base-32", 1},
		{"narinfo signature", "binary-cache", 3},
		{"ROLLBACK", "profiles", 5},
		{"placeholders", "store-paths", 3},
		{"what is a derivation", "derivations", 1},
		{"how do I delete the garbage that is not in use", "garbage-collection", 3},
	} {
		found := -1
		matches := docs.Search(c.query)
		for i, m := range matches {
			if found < 0 && m.Page.Name == c.page {
				found = i
			}
			if strings.ContainsAny(m.Excerpt, "`\n\x1b") || len([]rune(m.Excerpt)) > 250 {
				t.Errorf("%q: the excerpt is %q", c.query, m.Excerpt)
			}
		}
		if found < 0 || found >= c.within {
			t.Errorf("%q: %s is number %d of %d", c.query, c.page, found+1, len(matches))
		}
	}
	for _, m := range docs.Search("signatures fingerprints") { // some sections have both
		for _, word := range []string{"signature", "fingerprint"} {
			if text := strings.ToLower(m.Section.Markdown + m.Page.Title); !strings.Contains(text, word) {
				t.Errorf("%s#%s does not have %q", m.Page.Name, m.Section.Anchor, word)
			}
		}
	}
	for _, question := range []string{"how do I find out why this was rebuilt", "Why was this rebuilt?"} {
		const anchor = "why-was-this-built-again"
		if m := docs.Search(question); len(m) == 0 || m[0].Section.Anchor != anchor || !strings.Contains(m[0].Section.Markdown, "--why-rebuilt") {
			t.Errorf("%q does not find #%s first: %v", question, anchor, m[:min(1, len(m))])
		}
	}
	if m := docs.Search("which"); len(m) == 0 {
		t.Error("a query with stop words alone finds nothing")
	}
	for _, nothing := range []string{"", " -- ", "qqqxyzzy"} {
		if m := docs.Search(nothing); len(m) != 0 {
			t.Errorf("%q finds %d sections", nothing, len(m))
		}
	}
}

// An excerpt is a sentence without markup. It is code only if no sentence has a word of the query.
func TestExcerpt(t *testing.T) {
	const output = "finding garbage collector roots"
	found := 0
	for _, m := range docs.Search("garbage collect roots") {
		if strings.Contains(m.Section.Markdown, output) && strings.Contains(m.Section.Markdown, "garbage.") {
			found++
			if strings.Contains(m.Excerpt, output) {
				t.Errorf("%s#%s: the excerpt is %q", m.Page.Name, m.Section.Anchor, m.Excerpt)
			}
		}
	}
	if found == 0 {
		t.Error("no section has sentences and this output")
	}
	inCode := slices.ContainsFunc(docs.Search("nix-cache-info StoreDir"), func(m docs.Match) bool { return strings.Contains(m.Excerpt, "StoreDir:") })
	if !inCode {
		t.Error("code has no excerpt")
	}
}
