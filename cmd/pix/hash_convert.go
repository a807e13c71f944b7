package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/nixhash"
)

// A hashFormat is one of the ways in which hash-convert spells digests.
type hashFormat string

const (
	base16 hashFormat = "base16"
	nix32  hashFormat = "nix32"
	base64 hashFormat = "base64"
	sri    hashFormat = "sri"
)

// spell returns a hash in a format. All but sri leave the algorithm out, as Nix does.
func (f hashFormat) spell(h nixhash.Hash) string {
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
	}
	return "", fmt.Errorf("unknown hash format %q; expected base16, nix32, base64 or sri", s)
}

func newHashConvert(a *app) *cobra.Command {
	var c hashConversion
	var from, to, typ string
	var stdin bool
	cmd := &cobra.Command{
		Use:   "hash-convert HASH...",
		Short: "Print hashes in another spelling",
		Long: `Print hashes in another spelling, a line for each. What is read is told by its length: base 16,
Nix's base 32 or base 64, with the name of the algorithm and a colon before it, or alone if
--type is given; or the form of Subresource Integrity, sha256-<base 64>.`,
		Example:           "  pix hash-convert --type sha1 --to nix32 800d59cfcd3c05e900cb4e214be48f6b886a08df",
		GroupID:           groupFiles,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.to, err = parseHashFormat(to); err != nil {
				return wrongUse(cmd, err)
			}
			if from != "" {
				if c.from, err = parseHashFormat(from); err != nil {
					return wrongUse(cmd, err)
				}
			}
			if typ != "" {
				if c.algo, err = nixhash.ParseAlgorithm(typ); err != nil {
					return wrongUse(cmd, err)
				}
			}
			if args, err = a.withStdin(cmd, args, stdin); err != nil {
				return err
			}
			return a.convert(args, &c)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", string(sri), "the `format` to print: base16, nix32, base64 or sri")
	flags.StringVar(&from, "from", "", "refuse hashes that are not in this `format`")
	flags.StringVar(&typ, "type", "", "the hash `algorithm` of hashes that do not name it: md5, sha1, sha256, sha512 or blake3")
	flags.BoolVar(&stdin, "stdin", false, "read more hashes from standard input, one per line")
	valuesOf(cmd, "to", "sri", "nix32", "base16", "base64")
	valuesOf(cmd, "from", "sri", "nix32", "base16", "base64")
	valuesOf(cmd, "type", algorithms...)
	return cmd
}

// A hashConversion says what hash-convert reads and prints.
type hashConversion struct {
	algo nixhash.Algorithm // 0 for any that is named
	from hashFormat        // "" for any
	to   hashFormat
}

// convert prints hashes in another spelling, until one is none.
func (a *app) convert(hashes []string, c *hashConversion) error {
	out := bufio.NewWriter(a.stdout)
	for _, s := range hashes {
		h, err := nixhash.ParseAny(s, c.algo)
		if err == nil && c.from != "" {
			err = c.checkFrom(s, h)
		}
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
		out.WriteString(c.to.spell(h) + "\n")
	}
	return out.Flush()
}

// checkFrom returns an error if s, which spells h, does so in another format than asked for.
func (c *hashConversion) checkFrom(s string, h nixhash.Hash) error {
	if is := formatOf(s, h); is != c.from {
		return fmt.Errorf("hash %q has the format %s, and not %s", s, is, c.from)
	}
	return nil
}

// formatOf returns the format in which s spells h.
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
