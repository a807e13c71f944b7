package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/nixhash"
)

// A hashFormat is a format of hashes on the command line.
type hashFormat string

const (
	base16 hashFormat = "base16"
	nix32  hashFormat = "nix32"
	base64 hashFormat = "base64"
	sri    hashFormat = "sri"
)

// format returns a hash in a format. Only sri has the name of the algorithm, as in Nix.
func (f hashFormat) format(h nixhash.Hash) string {
	switch f {
	case base16:
		return h.Base16()
	case nix32:
		return h.Nix32()
	case base64:
		return h.Base64()
	}
	return h.SRI()
}

func parseHashFormat(s string) (hashFormat, error) {
	switch f := hashFormat(s); f {
	case base16, nix32, base64, sri:
		return f, nil
	case "base32": // the older name
		return nix32, nil
	}
	return "", fmt.Errorf("unknown hash format %q; expected base16, nix32, base64 or sri", s)
}

// hashConvertOptions are the flags of hash-convert.
type hashConvertOptions struct {
	algo  nixhash.Algorithm // 0 if each hash names its own
	from  hashFormat        // "" for any
	to    hashFormat
	stdin bool
}

func newHashConvert(a *app) *cobra.Command {
	var o hashConvertOptions
	var from, to, algo string
	cmd := &cobra.Command{
		Use:   "hash-convert HASH...",
		Short: "Print hashes in another format",
		Long: `Print hashes in another format, a line for each. The format of a HASH is recognised by its length:
base 16, Nix's base 32 or base 64, after the name of the algorithm and a colon, or alone with
--hash-algo; or SRI form (Subresource Integrity), sha256-<base 64>.`,
		Example:           "  pix hash-convert --hash-algo md5 --to nix32 d41d8cd98f00b204e9800998ecf8427e",
		GroupID:           groupFiles,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.to, err = parseHashFormat(to); err != nil {
				return wrongUse(cmd, err)
			}
			if from != "" {
				if o.from, err = parseHashFormat(from); err != nil {
					return wrongUse(cmd, err)
				}
			}
			if algo != "" {
				if o.algo, err = nixhash.ParseAlgorithm(algo); err != nil {
					return wrongUse(cmd, err)
				}
			}
			if args, err = a.withStdin(cmd, args, o.stdin); err != nil {
				return err
			}
			return a.convertHashes(args, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", string(sri), "the `format` to print: base16, nix32, base64 or sri")
	flags.StringVar(&from, "from", "", "the `format` of the hashes; any other is an error")
	flags.StringVar(&algo, "hash-algo", "", "the hash `algorithm` of hashes without its name: md5, sha1, sha256, sha512 or blake3")
	flags.BoolVar(&o.stdin, "stdin", false, "read more hashes from standard input, one per line")
	valuesOf(cmd, "to", "sri", "nix32", "base16", "base64")
	valuesOf(cmd, "from", "sri", "nix32", "base16", "base64")
	otherNames(cmd, map[string]string{"type": "hash-algo"})
	valuesOf(cmd, "hash-algo", hashAlgorithms...)
	return cmd
}

// convertHashes prints hashes in another format, up to the first invalid one.
func (a *app) convertHashes(hashes []string, o *hashConvertOptions) error {
	out := bufio.NewWriter(a.stdout)
	for _, s := range hashes {
		h, err := nixhash.ParseAny(s, o.algo)
		if err == nil && o.from != "" {
			err = o.checkFrom(s, h)
		}
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
		out.WriteString(o.to.format(h) + "\n")
	}
	return out.Flush()
}

// checkFrom returns an error if s, which is the hash h, is not in the format of --from.
func (o *hashConvertOptions) checkFrom(s string, h nixhash.Hash) error {
	if format := formatOf(s, h); format != o.from {
		return fmt.Errorf("hash %q has the format %s, and not %s", s, format, o.from)
	}
	return nil
}

// formatOf returns the format of s, which is the hash h.
func formatOf(s string, h nixhash.Hash) hashFormat {
	_, digest, named := strings.Cut(s, ":")
	if !named {
		digest = s
	}
	switch len(digest) {
	case len(h.Base16()):
		return base16
	case len(h.Nix32()):
		return nix32
	case len(h.Base64()):
		return base64
	}
	return sri
}
