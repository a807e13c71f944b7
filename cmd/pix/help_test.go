package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// allVerbs returns all verbs in the help.
func allVerbs(root *cobra.Command) (all []*cobra.Command) {
	for _, group := range verbGroups(root) {
		all = append(all, group.Verbs...)
	}
	return all
}

// The help of each verb has a short text, an example and lines that fit a terminal.
func TestHelp(t *testing.T) {
	const maxShort, maxColumns = 72, 100
	root := newRoot(newApp(nil, nil, nil, nil))
	for _, cmd := range root.Commands() {
		if cmd.GroupID == "" && !cmd.IsAdditionalHelpTopicCommand() {
			t.Errorf("%s is in no group", cmd.Name())
		}
	}
	for _, verb := range append(allVerbs(root), root) {
		name := verbName(verb)
		if verb.HasParent() && !strings.Contains(verb.Example, "  pix "+name) && !strings.Contains(verb.Example, "pix "+name) {
			t.Errorf("%s has no example that calls it", name)
		}
		if n := len(verb.Short); n == 0 || n > maxShort {
			t.Errorf("%s: the short text has %d bytes, more than %d: %s", name, n, maxShort, verb.Short)
		}
		if strings.HasSuffix(verb.Short, ".") {
			t.Errorf("%s: the short text ends with a full stop", name)
		}
		for line := range strings.Lines(verb.Long + "\n" + verb.Example) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > maxColumns {
				t.Errorf("%s: a line has %d columns, more than %d: %s", name, n, maxColumns, line)
			}
		}
		usages := verb.LocalFlags().FlagUsages()
		if got, want := len(flagHelps(usages)), strings.Count(usages, "\n"); got != want && got != want-1 { // --help
			t.Errorf("%s: flagHelps parses %d flags of %d:\n%s", name, got, want, usages)
		}
		if strings.Contains(usages, "(default )") {
			t.Errorf("%s: a flag has an empty default:\n%s", name, usages)
		}
	}
}

// The help of verbs that open no store does not show the flags for stores, and the help of the next verb does.
func TestHelpShowsStoreFlags(t *testing.T) {
	root := newRoot(newApp(nil, nil, nil, nil))
	for name, want := range map[string]string{
		"hash-path": "", "hash-convert": "", "nar-dump": "", "nar-ls": "", "key-generate": "", "completion": "", "version": "", "man": "", "docs": "",
		"store-path": "--store-dir", "narinfo-verify": "--store-dir", "add": "--store,--store-dir,--trace", "drv-show": "--store,--store-dir,--trace",
		"sign": "--store,--store-dir,--trace", "config": "--store,--store-dir,--trace", "copy": "--store,--store-dir,--trace",
	} {
		verb, _, err := root.Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		help := helpText(verb, 80)
		for _, flag := range []string{"--store", "--store-dir", "--trace"} {
			if strings.Contains(help, "   "+flag+" ") {
				shown = append(shown, flag)
			}
		}
		if got := strings.Join(shown, ","); got != want {
			t.Errorf("%s shows %q, want %q", name, got, want)
		}
		if !strings.Contains(help, "--quiet") {
			t.Errorf("%s does not show --quiet", name)
		}
	}
}

// The help fits the columns of the terminal, and wrapping loses no word.
func TestHelpFits(t *testing.T) {
	root := newRoot(newApp(nil, nil, nil, nil))
	for _, verb := range append(append(root.Commands(), allVerbs(root)...), root) {
		wide := helpText(verb, 1000)
		for _, columns := range []int{60, 80, 100} {
			help := helpText(verb, columns)
			if got, want := strings.Fields(help), strings.Fields(wide); !slices.Equal(got, want) {
				t.Errorf("%s in %d columns has other words:\n%s", verb.Name(), columns, help)
			}
			if columns == 60 || verb.IsAdditionalHelpTopicCommand() {
				continue // examples and tables are not wrapped
			}
			for line := range strings.Lines(help) {
				line = strings.TrimRight(line, "\n")
				if len([]rune(line)) > columns && (columns == 80 || !strings.Contains(verb.Long, line)) {
					t.Errorf("%s in %d columns: %q", verb.Name(), columns, line)
				}
			}
		}
	}
}

// The table of verbs in the README has each verb.
func TestReadmeNamesVerbs(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| group | verbs |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, verb := range allVerbs(newRoot(newApp(nil, nil, nil, nil))) {
		if !strings.Contains(table, "`"+verbName(verb)+"`") {
			t.Errorf("the table in the README does not name %s", verbName(verb))
		}
	}
}

// The help about the environment has each variable that the command reads.
func TestEnvironmentHelp(t *testing.T) {
	var sources []string
	for _, pattern := range []string{"*.go", "../../*.go", "../../nixconf/*.go", "../../server/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, found...)
	}
	help := newEnvironment().Long
	read := regexp.MustCompile(`getenv\("([A-Z_]+)"\)`)
	for _, file := range sources {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range read.FindAllSubmatch(text, -1) {
			if !strings.HasSuffix(file, "_test.go") && !strings.Contains(help, string(m[1])) {
				t.Errorf("%s reads %s, which is not in the help", file, m[1])
			}
		}
	}
}

// groff and mandoc have no warnings about the manual pages.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(newApp(nil, nil, nil, nil))
	if err := writeMan(t.Context(), root, dir, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(allVerbs(root)) + 1; len(pages) != want {
		t.Errorf("%d pages, want %d", len(pages), want)
	}
	for _, checker := range [][]string{
		{"groff", "-man", "-ww", "-Tutf8", "-z"},
		{"mandoc", "-T", "lint", "-W", "warning"},
	} {
		t.Run(checker[0], func(t *testing.T) {
			if _, err := exec.LookPath(checker[0]); err != nil {
				t.Skipf("%s is not installed", checker[0])
			}
			out, err := exec.Command(checker[0], append(checker[1:], pages...)...).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	text, err := os.ReadFile(filepath.Join(dir, "pix-build.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{".TH PIX\\-BUILD 1 1970-01-01 pix\n", "\\-\\-keep\\-going", "pix build \\(aq"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("pix-build.1 has no %q:\n%s", part, text)
		}
	}
}
