package main

import (
	"context"
	"errors"
	"io"

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
		file, remove, err := a.asFile(ctx, path)
		if err != nil {
			return nixhash.Hash{}, 0, err
		}
		defer remove()
		return nar.HashPath(ctx, file, algo, nil)
	})
}

func newHashFile(a *app) *cobra.Command {
	return a.newHashVerb(&cobra.Command{
		Use:     "hash-file PATH...",
		Short:   "Print the hash of the bytes of files",
		Example: "  pix hash-file hello-2.12.2.tar.gz --sri",
	}, "size", a.hashFile)
}

// hashAlgorithms are the names of hash algorithms on the command line.
var hashAlgorithms = []string{"sha256", "sha512", "sha1", "md5", "blake3"}

// hashOptions are the flags of hash-path and hash-file.
type hashOptions struct {
	algorithm     string
	form          hashFormat // "" is the default
	isAmbiguous   bool       // flags for several formats were given
	stdin, asJSON bool
}

// choose sets the format of the hashes.
func (o *hashOptions) choose(form hashFormat) {
	o.isAmbiguous = o.isAmbiguous || o.form != "" && o.form != form
	o.form = form
}

// A hashFunc returns the hash of a file, and the number of hashed bytes.
type hashFunc func(ctx context.Context, path string, algo nixhash.Algorithm) (nixhash.Hash, uint64, error)

// newHashVerb adds to cmd what the hash verbs have in common. sizeName is the JSON member for the number of hashed
// bytes.
func (a *app) newHashVerb(cmd *cobra.Command, sizeName string, hash hashFunc) *cobra.Command {
	var o hashOptions
	cmd.GroupID = groupFiles
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		algo, err := nixhash.ParseAlgorithm(o.algorithm)
		if err != nil {
			return wrongUse(cmd, err)
		}
		if o.isAmbiguous {
			return wrongUse(cmd, errors.New("--base16, --base32, --base64 and --sri exclude each other"))
		}
		if args, err = a.withStdin(cmd, args, o.stdin); err != nil {
			return err
		}
		limitMemory()
		return orInterrupted(cmd.Context(), func() error {
			if o.asJSON {
				return a.printHashesJSON(cmd.Context(), args, algo, o, sizeName, hash)
			}
			return a.printHashes(cmd.Context(), args, algo, o, hash)
		})
	}
	flags := cmd.Flags()
	flags.StringVar(&o.algorithm, "hash-algo", nixhash.SHA256.String(), "the hash `algorithm`: md5, sha1, sha256, sha512 or blake3")
	for _, f := range []struct {
		name, usage string
		form        hashFormat
	}{
		{"base16", "in base 16, the default", base16},
		{"base32", "in Nix's base 32", nix32},
		{"base64", "in base 64", base64},
		{"sri", "in SRI form (Subresource Integrity), sha256-<base 64>", sri},
	} {
		flags.BoolFunc(f.name, f.usage, func(string) error { o.choose(f.form); return nil })
	}
	flags.Func("format", "the format: base16, nix32, base64 or sri", func(value string) error {
		form, err := parseHashFormat(value)
		o.choose(form)
		return err
	})
	hideFlag(cmd, "format") // Nix's name
	valuesOf(cmd, "format", "sri", "nix32", "base16", "base64")
	flags.BoolVar(&o.stdin, "stdin", false, "read more paths from standard input, one per line")
	flags.BoolVar(&o.asJSON, "json", false, "as JSON, with the size; hashes are in SRI form by default")
	otherNames(cmd, map[string]string{"type": "hash-algo", "nix32": "base32"})
	valuesOf(cmd, "hash-algo", hashAlgorithms...)
	return cmd
}

func (o *hashOptions) format(h nixhash.Hash) string {
	switch {
	case o.form == nix32:
		return h.WithNix32()
	case o.form == base64:
		return h.WithBase64()
	case o.form == sri || o.form == "" && o.asJSON:
		return h.SRI()
	}
	return h.WithBase16()
}

// printHashes prints a line for each path, and stops at the first error.
func (a *app) printHashes(ctx context.Context, paths []string, algo nixhash.Algorithm, o hashOptions, hash hashFunc) error {
	for _, path := range paths {
		h, _, err := hash(ctx, path, algo)
		if err != nil {
			return err
		}
		if err := a.print(o.format(h) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printHashesJSON(ctx context.Context, paths []string, algo nixhash.Algorithm, o hashOptions, sizeName string, hash hashFunc) error {
	objects := []map[string]any{}
	for _, path := range paths {
		h, size, err := hash(ctx, path, algo)
		if err != nil {
			return err
		}
		objects = append(objects, map[string]any{"path": path, "hash": o.format(h), sizeName: size})
	}
	return a.printJSON(objects)
}

// hashFile returns the hash of the bytes of a file, and their number.
func (a *app) hashFile(ctx context.Context, path string, algo nixhash.Algorithm) (h nixhash.Hash, size uint64, err error) {
	f, err := a.openContents(ctx, path)
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
