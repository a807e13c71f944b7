package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// A flagHelp is a flag in the help.
type flagHelp struct {
	Name  string // "-k, --keep-going"
	Value string // the word for its value, or ""
	Usage string
}

// flagHelps parses the flags in the text that the help prints for them.
func flagHelps(usages string) (all []flagHelp) {
	flagLine := regexp.MustCompile(`^ {2,6}((?:-\w, )?--[\w-]+)(?: (\S+))? {3,}(.*)$`)
	for line := range strings.Lines(usages) {
		m := flagLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m != nil && !strings.HasSuffix(m[1], "--help") {
			all = append(all, flagHelp{m[1], m[2], m[3]})
		}
	}
	return all
}

// describe returns the paragraphs of the description of a verb. A preformatted paragraph begins with a space.
func describe(cmd *cobra.Command) []string {
	if cmd.Long == "" {
		return []string{cmd.Short + "."}
	}
	return strings.Split(cmd.Long, "\n\n")
}

// A verbGroup is a group of verbs in the help.
type verbGroup struct {
	Title string
	Verbs []*cobra.Command
}

// verbName returns the name of a verb, such as "gc" or "profile list".
func verbName(cmd *cobra.Command) string {
	if cmd.HasParent() && cmd.Parent().HasParent() {
		return verbName(cmd.Parent()) + " " + cmd.Name()
	}
	return cmd.Name()
}

// pageName returns the name of a verb in the names of pages and sections, such as "profile-list".
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(verbName(cmd), " ", "-") }

// verbGroups returns the verbs in the groups of the help, without the verb help. Verbs of a verb come after it.
func verbGroups(root *cobra.Command) []verbGroup {
	groups := make([]verbGroup, len(root.Groups()))
	for i, g := range root.Groups() {
		groups[i].Title = strings.TrimSuffix(g.Title, ":")
		for _, cmd := range root.Commands() {
			if cmd.GroupID == g.ID && !cmd.Hidden && cmd.Name() != "help" {
				groups[i].Verbs = append(append(groups[i].Verbs, cmd), cmd.Commands()...)
			}
		}
	}
	return groups
}

// topics returns the help topics that are not verbs.
func topics(root *cobra.Command) (all []*cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.IsAdditionalHelpTopicCommand() {
			all = append(all, cmd)
		}
	}
	return all
}
