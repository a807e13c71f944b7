package main

import "github.com/spf13/cobra"

// otherNames makes a verb accept other names of its flags, keyed by these: names in Nix, or older ones in pix. The help does
// not list them.
func otherNames(cmd *cobra.Command, names map[string]string) {
	flags := cmd.Flags()
	for other, name := range names {
		f := flags.Lookup(name)
		flags.VarPF(f.Value, other, "", f.Usage).NoOptDefVal = f.NoOptDefVal
		hideFlag(cmd, other)
		if f.NoOptDefVal == "" {
			freeValue(cmd, other)
		}
	}
}

// renamedFlag refuses the older name of a flag that means something else in Nix.
func renamedFlag(cmd *cobra.Command, name, advice string) {
	cmd.Flags().VarPF(&refusedFlag{name, advice}, name, "", advice).NoOptDefVal = "true"
	hideFlag(cmd, name)
}

func hideFlag(cmd *cobra.Command, name string) {
	if err := cmd.Flags().MarkHidden(name); err != nil {
		panic(err) // the flag does not exist
	}
}

// A refusedFlag is the value of a flag that is refused, and the error.
type refusedFlag struct{ name, advice string }

func (f *refusedFlag) String() string   { return "" }
func (f *refusedFlag) Type() string     { return "bool" }
func (f *refusedFlag) Set(string) error { return f }
func (f *refusedFlag) Error() string    { return "--" + f.name + ": " + f.advice }
