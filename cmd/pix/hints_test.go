package main

import (
	"io"
	"regexp"
	"strings"
	"testing"
)

// Every hint names a verb of pix, and no hint is for a verb.
func TestHints(t *testing.T) {
	root := newRoot(newApp(nil, io.Discard, io.Discard, func(string) string { return "" }))
	verbs := map[string]bool{}
	for _, cmd := range root.Commands() {
		verbs[cmd.Name()] = true
	}
	for word, hint := range verbHints {
		if verbs[word] {
			t.Errorf("there is a hint for the verb %s", word)
		}
		for _, m := range regexp.MustCompile(`pix ([a-z-]+)`).FindAllStringSubmatch(hint, -1) {
			if !verbs[m[1]] {
				t.Errorf("the hint for %s names %s, which is no verb", word, m[1])
			}
		}
	}
	for word, want := range map[string]string{
		"realise": "'pix build'", "--delete": "'pix gc PATH'", "buidl": "build", "foo": "", "xyz": "", "path-inof": "path-info",
	} {
		if got := hintFor(root, word); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("the hint for %s is %q, want %q", word, got, want)
		}
	}
}
