package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// wrongArguments returns a usage error for the arguments of a verb. If their number is wrong, the error shows the
// usage line instead of err.
func wrongArguments(cmd *cobra.Command, given []string, err error) error {
	words, needed := argumentWords(cmd.Use)
	usage := cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
	if cmd.Flags().Lookup("stdin") != nil {
		usage += ", or with --stdin"
	}
	switch {
	case errors.As(err, new(*usageError)): // about a verb of this verb
		return err
	case len(given) < needed:
		err = fmt.Errorf("%s is missing: %s", strings.Trim(words[len(given)], "[.]"), usage)
	case len(words) == 0 && len(given) > 0:
		err = fmt.Errorf("this verb takes no arguments, but got '%s': %s", given[0], usage)
	case len(given) > len(words) && !strings.Contains(cmd.Use, "..."):
		err = fmt.Errorf("unexpected argument '%s': %s", given[len(words)], usage)
	}
	return wrongUse(cmd, err)
}

// argumentWords returns the words of a usage line that stand for arguments, and how many arguments are needed: all up to
// the last word outside of brackets. A word after a flag is the value of the flag.
func argumentWords(use string) (words []string, needed int) {
	isValue, brackets := false, 0
	for _, word := range strings.Fields(use)[1:] {
		brackets += strings.Count(word, "[")
		optional := brackets > 0
		brackets -= strings.Count(word, "]")
		if strings.HasPrefix(strings.TrimLeft(word, "["), "-") {
			isValue = true
			continue
		}
		if !isValue {
			words = append(words, word)
			if !optional {
				needed = len(words)
			}
		}
		isValue = false
	}
	return words, needed
}
