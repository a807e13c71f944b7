package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/explain"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	asJSON, markdown, commands, full bool
	files                            string // the directory for the files of --commands

	archive, signatures bool
	keys                verifyOptions // trusted keys
	keysGiven           bool
}

func newExplain(a *app) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain DRV|PATH|HASH|FILE",
		Short: "Print how a store path, a hash or a signature is computed, step by step",
		Long: `Print how a store path is computed, step by step, with the texts that are hashed. For a derivation:
its text, the text in which the outputs are blank and the inputs replaced, with the reason for each
input, the modulo hash, and the path of each output, or of the outputs in DRV^OUT. For a
content-addressed object: the hash of its contents, the inner text and the fingerprint. For any
other object: its deriver, and the path of this output. DRV may be a .drv file that is not in the
store.

For a HASH in any spelling: all spellings. For a FILE whose name ends in .narinfo, and with
--signatures for a path of the store: the text that is signed, and which trusted key has signed it.
For a FILE whose name ends in .nar, and with --archive for a path: the files in the archive with the
offsets of their contents, and its hash.

--commands prints a shell script that computes each step with coreutils (b3sum for BLAKE3, openssl
for signatures), and prints the results. Bytes of the explained object can run no command: they are
escaped in words that printf writes. Long texts are cut: --full, --json and --commands have all of
them. The exit code is 1 if a computed path is not the one in the store or in the derivation, or if
no trusted key has signed a path that is not content-addressed.`,
		Example: "  pix explain /nix/store/...-hello.drv\n" +
			"  pix explain --commands /nix/store/...-source | sh\n" +
			"  pix explain --signatures /nix/store/...-hello\n" +
			"  pix explain sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeInstallables),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.keysGiven = cmd.Flags().Changed("trusted-public-keys")
			if err := o.check(); err != nil {
				return wrongUse(cmd, err)
			}
			return a.withDerivations(func(src *drvSource) error {
				e, err := a.explainArg(cmd.Context(), src, args[0], &o)
				if err != nil {
					return err
				}
				return a.printExplanation(e, &o)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.asJSON, "json", false, "print an object with all steps")
	flags.BoolVar(&o.markdown, "markdown", false, "print Markdown")
	flags.BoolVar(&o.commands, "commands", false, "print a shell script that computes each step")
	flags.StringVar(&o.files, "files", "", "the `directory` into which --commands writes texts of more than 64 KiB")
	flags.BoolVar(&o.full, "full", false, "do not cut long texts and lists")
	flags.BoolVar(&o.archive, "archive", false, "explain the archive of a path, or the archive in a file")
	flags.BoolVar(&o.signatures, "signatures", false, "explain the signatures of a path")
	flags.StringArrayVar(&o.keys.keys, "trusted-public-keys", nil, "public `keys`, with spaces between them, instead of the ones of nix.conf")
	completeFlag(cmd, "files", completeDirs)
	freeValue(cmd, "trusted-public-keys")
	return cmd
}

// check checks that the flags fit together.
func (o *explainOptions) check() error {
	forms := 0
	for _, form := range []bool{o.asJSON, o.markdown, o.commands} {
		if form {
			forms++
		}
	}
	switch {
	case forms > 1:
		return errors.New("--json, --markdown and --commands exclude each other")
	case o.files != "" && !o.commands:
		return errors.New("--files is for --commands")
	case o.archive && o.signatures:
		return errors.New("--archive and --signatures exclude each other")
	}
	return nil
}

// printExplanation prints an explanation in the form of the flags.
func (a *app) printExplanation(e *explain.Explanation, o *explainOptions) error {
	var err error
	switch {
	case o.asJSON:
		err = a.printJSON(e)
	case o.markdown:
		err = a.print(string(e.AppendMarkdown(nil, o.full)))
	case o.commands:
		err = a.printScript(e, o.files)
	default:
		err = a.print(string(e.AppendText(nil, &explain.TextOptions{Color: a.color.on(a.stdout, a.getenv), Full: o.full})))
	}
	if err == nil && len(e.Problems) > 0 {
		return &silentError{exitNo}
	}
	return err
}

// printScript prints the script that computes an explanation, and writes its files into a directory.
func (a *app) printScript(e *explain.Explanation, dir string) error {
	if dir != "" {
		var err error
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	script, err := e.Script(dir)
	if errors.As(err, new(*explain.LargeTextError)) {
		return &usageError{fmt.Errorf("%w; name a directory for longer texts with --files", err)}
	} else if err != nil {
		return err
	}
	for _, f := range script.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Contents), 0o666); err != nil {
			return err
		}
	}
	return a.print(script.Text)
}

// explainArg explains the object that an argument names.
func (a *app) explainArg(ctx context.Context, src *drvSource, arg string, o *explainOptions) (*explain.Explanation, error) {
	n, isName := src.name(arg)
	switch {
	case o.archive:
		return a.explainArchive(ctx, src, arg, n, isName)
	case o.signatures:
		return a.explainSignatures(ctx, src, arg, n, isName, o)
	case isName:
		return explainName(ctx, src, arg, n)
	}
	switch filepath.Ext(arg) {
	case ".nar":
		return a.explainArchive(ctx, src, arg, n, isName)
	case ".narinfo":
		return a.explainSignatures(ctx, src, arg, n, isName, o)
	}
	if e, err := explain.Hash(arg); err == nil && !exists(arg) {
		return e, nil
	}
	return explainDerivation(ctx, src, arg, nil)
}
