package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const commandPage = "../../docs/command.md"

// TestCommandPage compares docs/command.md with the help of the verbs. With -update it writes the page.
func TestCommandPage(t *testing.T) {
	want := renderCommandPage(newRoot(newApp(nil, nil, nil, nil)))
	if *update {
		if err := os.WriteFile(commandPage, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/command.md differs from the help; go test ./cmd/pix -run TestCommandPage -update writes it again")
	}
}

// markdownEscapes escapes the characters that Markdown interprets.
var markdownEscapes = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "`", "\\`", "|", `\|`)

func renderCommandPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The verbs of pix\n\n<!-- Generated from the help by go test ./cmd/pix -run TestCommandPage -update: do not edit. -->\n\n")
	writeParagraphs(&b, describe(root))
	groups := verbGroups(root)
	for _, group := range groups {
		names := make([]string, len(group.Verbs))
		for i, verb := range group.Verbs {
			names[i] = fmt.Sprintf("[%s](#%s)", verbName(verb), pageName(verb))
		}
		fmt.Fprintf(&b, "- %s: %s\n", group.Title, strings.Join(names, ", "))
	}
	b.WriteString("\n## Flags of all verbs\n\n")
	writeFlags(&b, root.PersistentFlags().FlagUsages())
	for _, topic := range topics(root) {
		fmt.Fprintf(&b, "## %s\n\n", strings.ToUpper(topic.Name()[:1])+topic.Name()[1:])
		writeParagraphs(&b, describe(topic))
	}
	for _, group := range groups {
		fmt.Fprintf(&b, "## %s\n\n", group.Title)
		for _, verb := range group.Verbs {
			writeVerb(&b, verb)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func writeVerb(b *strings.Builder, verb *cobra.Command) {
	fmt.Fprintf(b, "### %s\n\n```text\n%s\n```\n\n", verbName(verb), verb.UseLine())
	writeParagraphs(b, describe(verb))
	writeFlags(b, verb.LocalFlags().FlagUsages())
	if len(verb.Aliases) > 0 {
		fmt.Fprintf(b, "Alias: `%s`.\n\n", strings.Join(verb.Aliases, "`, `"))
	}
	if verb.LocalFlags().Lookup("json") != nil {
		fmt.Fprintf(b, "The output of `--json`: [json.md](json.md#%s).\n\n", pageName(verb))
	}
	if verb.Example != "" {
		fmt.Fprintf(b, "Example:\n\n```sh\n%s\n```\n\n", unindent(verb.Example))
	}
}

func writeParagraphs(b *strings.Builder, all []string) {
	for _, text := range all {
		if strings.HasPrefix(text, " ") {
			fmt.Fprintf(b, "```text\n%s\n```\n\n", unindent(text))
		} else {
			b.WriteString(markdownEscapes.Replace(text) + "\n\n")
		}
	}
}

func writeFlags(b *strings.Builder, usages string) {
	for _, f := range flagHelps(usages) {
		fmt.Fprintf(b, "- `%s`: %s\n", strings.TrimSpace(f.Name+" "+f.Value), markdownEscapes.Replace(f.Usage))
	}
	if len(flagHelps(usages)) > 0 {
		b.WriteString("\n")
	}
}

// unindent removes two spaces at the beginning of each line.
func unindent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}
