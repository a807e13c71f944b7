package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pix/docs"
)

// These find command lines of pix in text, and in blocks of code, where they end before the next command.
var (
	pixInText = regexp.MustCompile("`pix ([^`]*)`")
	pixInCode = regexp.MustCompile(`(?m)^(?:\$ )?(?:\w+=\S* |\w+=\$\()*pix ([^|;)$\n]*)`)
)

// The verbs and flags in the pages exist.
func TestPagesNameVerbs(t *testing.T) {
	readme, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	pages := append(docs.Pages(), &docs.Page{Name: "README", Markdown: string(readme)})
	lines := 0
	for _, p := range pages {
		for i, part := range strings.Split(p.Markdown, "```") {
			commands := pixInText
			if i%2 == 1 {
				commands = pixInCode
			}
			for _, m := range commands.FindAllStringSubmatch(part, -1) {
				lines++
				if problem := pageLineProblem(m[1]); problem != "" {
					t.Errorf("%s: pix %s: %s", p.Name, m[1], problem)
				}
			}
		}
	}
	if lines < 200 {
		t.Errorf("the pages have only %d command lines", lines)
	}
}

// pageLineProblem says which verb or flag of a command line does not exist, or returns "".
func pageLineProblem(line string) string {
	root := newRoot(newApp(nil, nil, nil, nil))
	words := strings.Fields(line)
	verb, rest, err := root.Find(words)
	if err != nil || verb == root && !strings.HasPrefix(words[0], "-") && words[0] != strings.ToUpper(words[0]) {
		return "there is no such verb"
	}
	if verb == root && !strings.HasPrefix(words[0], "-") {
		return "" // pix VERB
	}
	for _, word := range rest {
		name, ok := strings.CutPrefix(word, "--")
		if word == "--" || !ok && (verb.Name() == "run" || verb.Name() == "shell") { // arguments of another program follow
			break
		}
		if name, _, _ = strings.Cut(name, "="); !ok || name == "help" {
			continue
		}
		if name = strings.TrimRight(name, ".,:'\""); verb.Flags().Lookup(name) == nil && verb.InheritedFlags().Lookup(name) == nil {
			return "there is no flag --" + name
		}
	}
	return ""
}

// A page with a mistake is found.
func TestPageLineProblem(t *testing.T) {
	for line, want := range map[string]string{
		"gc --dry-run": "", "gc --nonsense": "there is no flag --nonsense", "nonsense x": "there is no such verb", "VERB --help": "",
		"profile set --profile ./app x": "", "run x -- --nonsense": "", "--store ./x roots": "", "copy --to=x": "",
	} {
		if got := pageLineProblem(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
