package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	helpColumns    = 80  // of help that is not printed on a terminal, such as in a pager
	maxHelpColumns = 100 // longer lines are hard to read
	minHelpColumns = 40
)

// printHelp prints the help of a verb with lines that fit the terminal.
func printHelp(cmd *cobra.Command, _ []string) {
	io.WriteString(cmd.OutOrStdout(), helpText(cmd, columnsOf(cmd.OutOrStdout()))) //nolint:errcheck // as cobra does
}

// columnsOf returns the number of columns for help on w.
func columnsOf(w io.Writer) int {
	file, ok := unwrapped(w).(*os.File)
	if !ok {
		return helpColumns
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil || columns <= 0 {
		return helpColumns
	}
	return min(max(columns, minHelpColumns), maxHelpColumns)
}

// helpText returns the help of a verb in lines of at most so many columns, except words and examples that are longer.
func helpText(cmd *cobra.Command, columns int) string {
	var b strings.Builder
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if !isPreformatted(paragraph) {
			paragraph = fill(paragraph, 0, columns)
		}
		b.WriteString(paragraph + "\n\n")
	}
	if !cmd.Runnable() && !cmd.HasSubCommands() {
		return b.String()
	}
	defer hideUnusedFlags(cmd)()
	usage := cmd.UsageString()
	for _, flags := range []interface {
		FlagUsages() string
		FlagUsagesWrapped(columns int) string
	}{cmd.LocalFlags(), cmd.InheritedFlags()} {
		if wide := strings.TrimSpace(flags.FlagUsages()); wide != "" {
			usage = strings.Replace(usage, wide, strings.TrimSpace(flags.FlagUsagesWrapped(columns)), 1)
		}
	}
	if cmd.HasAvailableSubCommands() {
		usage = wrapVerbs(cmd, usage, columns)
	}
	b.WriteString(usage)
	return b.String()
}

// wrapVerbs wraps the short texts of the verbs in a usage.
func wrapVerbs(root *cobra.Command, usage string, columns int) string {
	for _, verb := range root.Commands() {
		indent := 3 + verb.NamePadding()
		line := verb.Name() + strings.Repeat(" ", max(0, verb.NamePadding()-len(verb.Name()))) + " " + verb.Short + "\n"
		if indent+len(verb.Short) > columns {
			usage = strings.Replace(usage, line, line[:indent-2]+fill(verb.Short, indent, columns)+"\n", 1)
		}
	}
	return usage
}

// isPreformatted reports whether a paragraph has lines that are indented, or columns.
func isPreformatted(paragraph string) bool {
	return strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") || strings.Contains(paragraph, "  ") || strings.Contains(paragraph, "\t")
}

// fill breaks text between words into lines. The first line begins at the column indent, and the others are indented so far.
func fill(text string, indent, columns int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case at+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
