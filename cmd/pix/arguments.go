package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// wrongArguments says that err is wrong with the arguments of a verb. If it is their number,
// it says what to type instead.
func wrongArguments(cmd *cobra.Command, given []string, err error) error {
	words, needed := argumentWords(cmd.Use)
	usage := cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
	if cmd.Flags().Lookup("stdin") != nil {
		usage += ", or with --stdin"
	}
	switch {
	case len(given) < needed:
		err = fmt.Errorf("%s is missing: %s", strings.Trim(words[len(given)], "[.]"), usage)
	case len(words) == 0 && len(given) > 0:
		err = fmt.Errorf("there is no argument to give, and '%s' is one: %s", given[0], usage)
	case len(given) > len(words) && !strings.Contains(cmd.Use, "..."):
		err = fmt.Errorf("'%s' is one argument too many: %s", given[len(words)], usage)
	}
	return wrongUse(cmd, err)
}

// argumentWords returns the words of a usage that stand for arguments, and how many of them
// are needed: those that are not in brackets. A word after a flag is its value.
func argumentWords(use string) (words []string, needed int) {
	isValue := false
	for _, word := range strings.Fields(use)[1:] {
		switch {
		case strings.HasPrefix(word, "--"):
			isValue = true
			continue
		case !isValue:
			words = append(words, word)
			if !strings.HasPrefix(word, "[") {
				needed = len(words)
			}
		}
		isValue = false
	}
	return words, needed
}
