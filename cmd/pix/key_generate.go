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
should tell who signs with it, and have a number, because keys are replaced from time to time. Keep
the key where no other user can read it. If standard output is a file, its mode becomes 0600. The
umask of the example keeps other users from opening the file before.`,
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
			a.makeStdoutPrivate()
			return a.print(key.Reveal() + "\n")
		},
	}
	cmd.Flags().StringVar(&name, "key-name", "", "the `name` of the key, such as cache.example.org-1")
	freeValue(cmd, "key-name")
	return cmd
}

// makeStdoutPrivate changes the mode of a file on standard output to 0600, before a secret key is written to it. A shell
// creates files that other users can read.
func (a *app) makeStdoutPrivate() {
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
