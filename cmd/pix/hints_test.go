package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
		"prefetch-file": "'pix prefetch'", "--verify-path": "'pix verify --no-trust'",
		"--print-fixed-path": "pix store-path --mode", "realisation": "'pix build-trace'",
	} {
		if got := hintFor(root, word); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("the hint for %s is %q, want %q", word, got, want)
		}
	}
}

// The words of commands of Nix lead to the verb, also where an operation is a flag.
func TestHintsForWords(t *testing.T) {
	for words, want := range map[string]string{
		"store verify /x": "'pix verify'", "nix store verify /x": "'pix verify'", "nix store prefetch-file x": "'pix prefetch'",
		"nix-store --dump-db": "'pix dump-db'?", "--load-db": "'pix load-db'?", "nix-store --verify-path /x": "'pix verify --no-trust'",
		"nix-store --print-fixed-path sha256 x y": "'pix store-path", "nix realisation info x": "'pix build-trace info'",
		"nix-prefetch-url x": "'pix prefetch'", "nix path-info x": "'pix path-info'", "store": "'pix path-info', 'pix verify', 'pix prefetch' or 'pix gc'?",
		"nix-tree x": "'pix view', 'pix tree --sizes' or 'pix path-info -r --table'?; see 'pix --help'", "nom build": "'pix build' or 'pix watch'?",
		"harmonia": "'pix serve'?; see 'pix serve --help'", "attic push a x": "'pix push' or 'pix copy --to URI'?", "cachix watch-store a": "'pix push --watch'?",
		"cachix use a": "'substituters'", "proxy": "'pix monitor'?", "questions": "'pix docs questions'?; see 'pix docs --help'", "compare a b": "'pix diff' or 'pix explain --against'?",
		"du": "'pix path-info --table'?", "view --port 80": "give the port in --listen", "daemon --listen x": "did you mean --socket?", "upload x": "'pix push'",
		"nix nonsense": "unknown command \"nix\"; see", "--nonsense": "unknown flag: --nonsense; see",
	} {
		var stderr strings.Builder
		code := run(strings.Fields(words), strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
		if code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("pix %s: exit code %d, %s", words, code, stderr.String())
		}
	}
}

// Every hint for a command line or a flag names a verb and a flag of pix, and no hint is for a flag that the verb has.
func TestHintsForLinesAndFlags(t *testing.T) {
	root := newRoot(newApp(nil, io.Discard, io.Discard, func(string) string { return "" }))
	check := func(what, hint string, verb *cobra.Command) {
		for _, m := range regexp.MustCompile(`pix ((?:profile )?[a-z-]+)`).FindAllStringSubmatch(hint, -1) {
			if strings.HasPrefix(hint, ";") && !strings.Contains(hint, "'pix "+m[1]) {
				continue // a sentence about pix
			}
			found, rest, err := root.Find(strings.Fields(m[1]))
			if err != nil || found == root || len(rest) > 0 && found.Name() != "build-trace" {
				t.Errorf("the hint for %s names %s, which is no verb", what, m[1])
				continue
			}
			verb = found
		}
		for _, m := range regexp.MustCompile(` --?([a-z-]+)`).FindAllStringSubmatch(hint, -1) {
			if verb == nil || verb.Flag(m[1]) == nil && verb.Flags().ShorthandLookup(m[1][:1]) == nil {
				t.Errorf("the hint for %s names the flag %s, which does not exist", what, m[1])
			}
		}
	}
	for program, hints := range lineHints {
		for _, h := range hints {
			check(program+" "+h.words, h.hint, nil)
		}
	}
	for words, hint := range flagHints {
		name, flag, _ := strings.Cut(words, " -")
		verb, _, err := root.Find([]string{name})
		if err != nil || verb == root {
			t.Errorf("there is a flag hint for %s, which is no verb", name)
			continue
		}
		if flag = strings.TrimPrefix(flag, "-"); verb.Flag(flag) != nil || len(flag) == 1 && verb.Flags().ShorthandLookup(flag) != nil {
			t.Errorf("there is a hint for the flag %s", words)
		}
		check(words, hint, verb)
		var stderr strings.Builder
		code := run(strings.Fields(words), strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
		if code != exitUsage || !strings.Contains(stderr.String(), hint) {
			t.Errorf("pix %s: exit code %d, %s", words, code, stderr.String())
		}
	}
}
