package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"pix/narinfo"
	"pix/signature"
)

func newNARInfoSign(a *app) *cobra.Command {
	var keyFile string
	var inPlace bool
	cmd := &cobra.Command{
		Use:   "narinfo-sign --key-file FILE NARINFO...",
		Short: "Sign .narinfo files",
		Long: `Sign .narinfo files with the secret key in a file. A signature covers the store path, the hash and
size of its archive, and its references. Existing signatures stay.

A single file is printed with the signature; - is standard input. With --in-place the files are
replaced, each atomically.`,
		Example: "  pix narinfo-sign --key-file secret-key --in-place cache/*.narinfo",
		GroupID: groupKeys,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case keyFile == "":
				return wrongUse(cmd, errors.New("no --key-file is given"))
			case len(args) > 1 && !inPlace:
				return wrongUse(cmd, errors.New("several files can only be signed with --in-place"))
			case slices.Contains(args, "-") && inPlace:
				return wrongUse(cmd, errors.New("standard input cannot be replaced"))
			}
			key, err := a.readSecretKey(cmd.Context(), keyFile)
			if err != nil {
				return err
			}
			for _, file := range args {
				if err := a.signFile(cmd.Context(), file, key, inPlace); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&keyFile, "key-file", "k", "", "the `file` with the secret key")
	cmd.Flags().BoolVarP(&inPlace, "in-place", "i", false, "replace the files instead of printing one")
	return cmd
}

// signFile signs a .narinfo file, and prints or replaces it.
func (a *app) signFile(ctx context.Context, file string, key signature.SecretKey, inPlace bool) error {
	info, err := a.readNARInfo(ctx, file)
	if err != nil {
		return err
	}
	if err := info.Sign(key); err != nil {
		return fmt.Errorf("%s: %w", inputName(file), err)
	}
	text, err := info.MarshalText()
	if err != nil {
		return fmt.Errorf("%s: %w", inputName(file), err)
	}
	if inPlace {
		return writeFile(ctx, file, text)
	}
	return a.print(string(text))
}

// readNARInfo reads a .narinfo file. Errors name the file.
func (a *app) readNARInfo(ctx context.Context, file string) (*narinfo.NarInfo, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	text, err := a.readSmall(ctx, file, narinfo.MaxLen)
	if err != nil {
		return nil, err
	}
	info, err := narinfo.ParseBytes(text, &narinfo.Options{StoreDir: dir})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inputName(file), err)
	}
	return info, nil
}
