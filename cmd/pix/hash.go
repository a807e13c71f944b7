package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/nixhash"
)

func newHashPath(a *app) *cobra.Command {
	return a.newHashVerb(&cobra.Command{
		Use:     "hash-path PATH...",
		Short:   "Print the NAR hash of files, directories or symlinks",
		Example: "  pix hash-path ./src --base32",
	}, "narSize", func(ctx context.Context, path string, algo nixhash.Algorithm) (nixhash.Hash, uint64, error) {
		return nar.HashPath(ctx, path, algo, nil)
	})
}

func newHashFile(a *app) *cobra.Command {
	return a.newHashVerb(&cobra.Command{
		Use:     "hash-file PATH...",
		Short:   "Print the hash of the bytes of files",
		Example: "  pix hash-file hello-2.12.2.tar.gz --sri",
	}, "size", hashFile)
}

// algorithms are what a hash algorithm can be called on the command line.
var algorithms = []string{"sha256", "sha512", "sha1", "md5", "blake3"}

// A hashForm says what the hash verbs compute, and how they print it.
type hashForm struct {
	typ                        string
	base32, sri, stdin, asJSON bool

	sizeName string // what the number of bytes is called that are hashed
	hash     func(context.Context, string, nixhash.Algorithm) (nixhash.Hash, uint64, error)
}

// newHashVerb completes a verb that prints hashes, a line for each path.
func (a *app) newHashVerb(cmd *cobra.Command, sizeName string, hash func(context.Context, string, nixhash.Algorithm) (nixhash.Hash, uint64, error)) *cobra.Command {
	f := &hashForm{sizeName: sizeName, hash: hash}
	cmd.GroupID = groupFiles
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		algo, err := nixhash.ParseAlgorithm(f.typ)
		if err != nil {
			return wrongUse(cmd, err)
		}
		if f.base32 && f.sri {
			return wrongUse(cmd, errors.New("--base32 and --sri exclude each other"))
		}
		if args, err = a.withStdin(cmd, args, f.stdin); err != nil {
			return err
		}
		frugal()
		return orInterrupted(cmd.Context(), func() error { return a.printHashes(cmd.Context(), args, algo, f) })
	}
	flags := cmd.Flags()
	flags.StringVar(&f.typ, "type", nixhash.SHA256.String(), "the hash `algorithm`: md5, sha1, sha256, sha512 or blake3")
	flags.BoolVar(&f.base32, "base32", false, "in Nix's base 32 instead of base 16")
	flags.BoolVar(&f.sri, "sri", false, "in the form of Subresource Integrity, sha256-<base 64>")
	flags.BoolVar(&f.stdin, "stdin", false, "read more paths from standard input, one per line")
	flags.BoolVar(&f.asJSON, "json", false, "as JSON, with the size; hashes are those of --sri unless --base32 is given")
	valuesOf(cmd, "type", algorithms...)
	return cmd
}

func (f *hashForm) spell(h nixhash.Hash) string {
	switch {
	case f.base32:
		return h.WithNix32()
	case f.sri || f.asJSON:
		return h.SRI()
	}
	return h.WithBase16()
}

// printHashes prints the hash of each path, until there is none of one.
func (a *app) printHashes(ctx context.Context, paths []string, algo nixhash.Algorithm, f *hashForm) error {
	facts := []map[string]any{}
	for _, path := range paths {
		h, size, err := f.hash(ctx, path, algo)
		if err == nil && !f.asJSON {
			err = a.print(f.spell(h) + "\n")
		}
		if err != nil {
			return err
		}
		if f.asJSON {
			facts = append(facts, map[string]any{"path": path, "hash": f.spell(h), f.sizeName: size})
		}
	}
	if !f.asJSON {
		return nil
	}
	return a.printJSON(facts)
}

// withStdin returns the arguments, with the lines of standard input behind them if asked
// for. There must be one.
func (a *app) withStdin(cmd *cobra.Command, args []string, stdin bool) ([]string, error) {
	if stdin {
		in := readAhead(cmd.Context(), a.stdin)
		defer in.Close()
		lines, err := readLines(in)
		return append(args, lines...), err
	}
	if err := cobra.MinimumNArgs(1)(cmd, args); err != nil {
		return nil, wrongArguments(cmd, args, err)
	}
	return args, nil
}

// hashFile hashes the bytes of a file, until ctx ends.
func hashFile(ctx context.Context, path string, algo nixhash.Algorithm) (h nixhash.Hash, size uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nixhash.Hash{}, 0, err
	}
	defer f.Close()
	ahead := readAhead(ctx, f)
	defer ahead.Close()
	running := algo.New()
	for {
		piece, err := ahead.next()
		if errors.Is(err, io.EOF) {
			return nixhash.FromHash(algo, running), size, nil
		}
		if err != nil {
			return nixhash.Hash{}, 0, err
		}
		running.Write(piece)
		size += uint64(len(piece))
	}
}
