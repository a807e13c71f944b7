package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pix/signature"
)

func newKeyGenerate(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "key-generate --key-name NAME",
		Short: "Print a new secret key for signing store objects",
		Long: `Print a new secret key for signing store objects, as 'nix key generate-secret' does. Its name
should say who signs with it, and which of their keys it is: keys are replaced some day. Keep it
where no other user can read it. If standard output is a file, only its owner can read that
afterwards. The umask of the example keeps others from opening it before.`,
		Example: "  (umask 077; pix key-generate --key-name cache.example.org-1 > secret-key)",
		GroupID: groupKeys,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return wrongUse(cmd, errors.New("no --key-name is given"))
			}
			key, err := signature.GenerateKey(name)
			if err != nil {
				return wrongUse(cmd, err)
			}
			a.keepPrivate()
			return a.print(key.Reveal() + "\n")
		},
	}
	cmd.Flags().StringVar(&name, "key-name", "", "the `name` of the key, such as cache.example.org-1")
	freeValue(cmd, "key-name")
	return cmd
}

// keepPrivate makes the file that standard output goes to its owner's alone, before a secret is
// written to it. A shell makes files that others can read.
func (a *app) keepPrivate() {
	f, ok := a.stdout.(*os.File)
	if !ok {
		return
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 {
		return
	}
	if err := f.Chmod(0o600); err != nil {
		fmt.Fprintf(a.stderr, "pix: warning: other users may be able to read the secret key on standard output: %s\n", errorText(err))
	}
}
