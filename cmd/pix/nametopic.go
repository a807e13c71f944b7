package main

import "github.com/spf13/cobra"

// newNameTopic returns the help topic about the names of store objects.
func newNameTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "names",
		Short: "How arguments name paths, outputs and derivations",
		Long: `Every verb that takes paths of a store takes these names, as arguments and, with --stdin, as lines
of standard input.

  /nix/store/HASH-NAME       a store path; a slash at its end, // and .. do not
                             matter
  /nix/store/HASH-NAME/FILE  a file in it; only for ls, cat and dump it is not
                             the same as the path
  ./result, ./result/bin     a symlink that leads to one of these, or a file
                             below it
  DRV^out, DRV^out,dev       outputs of a derivation
  DRV^*                      all its outputs
  DRV!out                    the same in the form of older versions of Nix
  HASH                       the hash part of a store path, or its first 7 digits
                             or more if only one valid path begins with them

Verbs about derivations (drv-show, drv-diff, drv-hash, outputs) take for DRV^out the derivation
itself, and for any other path its deriver. In all other verbs DRV^out stands for the output, and
DRV for the .drv file, as in Nix. A FILE that is - is standard input.`,
	}
}
