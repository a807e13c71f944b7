// Package pages checks the pages under docs: a fenced block with a name after its language must contain
// the output that a test produces under that name.
//
//	```text fingerprint
//	text:sha256:…
//	```
//
// Markdown renderers do not show the language and the name.
package pages

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const fence = "```"

// Check compares the blocks of a page with the produced texts of the same names. With update it writes
// the texts into the page. A block without a name, a block without a produced text, and a produced text
// without a block fail the test.
func Check(t *testing.T, page string, produced map[string]string, update bool) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before := string(b)
	after, used := replace(t, before, produced)
	for name := range produced {
		if !slices.Contains(used, name) {
			t.Errorf("%s has no block %s", page, name)
		}
	}
	if after == before {
		return
	}
	if !update {
		t.Errorf("%s differs from the produced text; the flag -update renews it:\n%s", page, firstDifference(before, after))
		return
	}
	if err := os.WriteFile(page, []byte(after), 0o666); err != nil {
		t.Fatal(err)
	}
}

// replace returns the page with the produced texts in its blocks, and the names of the blocks.
func replace(t *testing.T, page string, produced map[string]string) (after string, used []string) {
	t.Helper()
	var out strings.Builder
	inside, kept := false, false
	for line := range strings.Lines(page) {
		switch {
		case inside && line == fence+"\n":
			inside, kept = false, false
			out.WriteString(line)
		case inside:
			if kept {
				out.WriteString(line)
			}
		case strings.HasPrefix(line, fence):
			inside = true
			out.WriteString(line)
			language, name, _ := strings.Cut(strings.TrimSpace(line[len(fence):]), " ")
			text, ok := produced[name]
			if !ok {
				t.Errorf("no text is produced for the block %q (%s)", name, language)
				kept = true
				break
			}
			used = append(used, name)
			out.WriteString(strings.TrimRight(text, "\n") + "\n")
		default:
			out.WriteString(line)
		}
	}
	if inside {
		t.Error("the last block has no end")
	}
	return out.String(), used
}

// firstDifference returns the first line that differs.
func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return "in the page " + as[i] + "\nproduced    " + bs[i]
		}
	}
	return "one is longer"
}
