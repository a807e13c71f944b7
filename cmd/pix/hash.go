package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/nixhash"
)

func newHashPath(a *app) *cobra.Command {
	var base32 bool
	cmd := &cobra.Command{
		Use:     "hash-path PATH",
		Short:   "Print the NAR hash of a file, directory or symlink",
		Example: "  pix hash-path ./src --base32",
		GroupID: groupFiles,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, _, err := nar.HashPath(cmd.Context(), args[0], nixhash.SHA256, nil)
			if err != nil {
				return err
			}
			return a.print(spellHash(h, base32) + "\n")
		},
	}
	addBase32Flag(cmd, &base32)
	return cmd
}

func newHashFile(a *app) *cobra.Command {
	var base32 bool
	cmd := &cobra.Command{
		Use:     "hash-file PATH",
		Short:   "Print the hash of a file's bytes",
		Example: "  pix hash-file hello-2.12.2.tar.gz",
		GroupID: groupFiles,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := hashFile(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(spellHash(h, base32) + "\n")
		},
	}
	addBase32Flag(cmd, &base32)
	return cmd
}

func addBase32Flag(cmd *cobra.Command, base32 *bool) {
	cmd.Flags().BoolVar(base32, "base32", false, "in Nix's base 32 instead of base 16")
}

func spellHash(h nixhash.Hash, base32 bool) string {
	if base32 {
		return h.WithNix32()
	}
	return h.WithBase16()
}

// hashFile hashes the bytes of a file, until ctx ends.
func hashFile(ctx context.Context, path string) (nixhash.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	running := nixhash.SHA256.New()
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		running.Write(buf[:n])
		if err == io.EOF {
			return nixhash.FromHash(nixhash.SHA256, running), nil
		}
		if err != nil {
			return nixhash.Hash{}, err
		}
	}
	return nixhash.Hash{}, fmt.Errorf("hashing '%s': %w", path, context.Cause(ctx))
}
