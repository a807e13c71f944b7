package main

import (
	"errors"

	"github.com/spf13/cobra"

	"pix/signature"
)

func newKeyGenerate(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "key-generate --key-name NAME",
		Short: "Print a new secret key for signing store objects",
		Long: `Print a new secret key for signing store objects, as 'nix key generate-secret' does. Its name
should say whose it is, and which of theirs: keys are replaced some day. It must be kept where
nobody else can read it.`,
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
			return a.print(key.Reveal() + "\n")
		},
	}
	cmd.Flags().StringVar(&name, "key-name", "", "the `name` of the key, such as cache.example.org-1")
	freeValue(cmd, "key-name")
	return cmd
}
