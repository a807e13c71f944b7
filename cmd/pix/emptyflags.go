package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// checkNotEmpty returns an error if one of the flags is given with an empty value, such as an unset variable of a shell.
// Otherwise the verb would ignore the flag, and do something else. A flag that the verb does not have is ignored.
func checkNotEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return fmt.Errorf("the value of --%s is empty", name)
		}
	}
	return nil
}
