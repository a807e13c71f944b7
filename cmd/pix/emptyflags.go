package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkNotEmpty returns an error if a flag with a text is given with an empty value, such as an unset variable of a shell.
// Otherwise the verb would ignore the flag: 'pix gc --max-freed ""' would delete everything that no root needs.
func checkNotEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("the value of --%s is empty", f.Name)
		}
	})
	return err
}
