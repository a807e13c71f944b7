package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pix/signature"
)

// maxKeyFile is the largest size of a key file in bytes, far more than a key has.
const maxKeyFile = 64 << 10

func newKeyPublic(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "key-public",
		Short:   "Print the public key of the secret key on standard input",
		Example: "  pix key-public < secret-key",
		GroupID: groupKeys,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := a.readSecretKey(cmd.Context(), "-")
			if err != nil {
				return err
			}
			return a.print(key.Public().String() + "\n")
		},
	}
}

// readSecretKey reads a secret key from a file. Errors name the file and never have any of its contents.
func (a *app) readSecretKey(ctx context.Context, file string) (signature.SecretKey, error) {
	text, err := a.readSmall(ctx, file, maxKeyFile)
	if err != nil {
		return signature.SecretKey{}, err
	}
	key, err := signature.ParseSecretKey(string(text))
	if err != nil {
		return signature.SecretKey{}, fmt.Errorf("%s: %w", inputName(file), err)
	}
	return key, nil
}
