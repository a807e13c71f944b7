package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/explain"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	asJSON, markdown, commands, full bool
	files                            string // the directory for the files of --commands

	archive, signatures, affects bool

	against, whyRebuilt string // the other one of two

	keys      verifyOptions // trusted keys
	keysGiven bool
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
store, or - for standard input.

For a HASH in any spelling: all spellings. For a FILE whose name ends in .narinfo, and with
--signatures for a path of the store: the text that is signed, and which trusted key has signed it.
For a FILE whose name ends in .nar, and with --archive for a path: the files in the archive with the
offsets of their contents, and its hash.

With --against, it prints the first step in which two computations differ, with the bytes around the
first difference, and the steps that follow from it. --why-rebuilt compares two derivations with all
their inputs, and prints the differences that cause the rebuild, apart from the derivations that are
built again only because of their inputs. Of many causes of one kind it prints the number and
examples. With one of these flags the exit code is 1 if something differs. --affects prints the
derivations whose change changes the output paths of DRV, and those that are only needed for the
build.

--commands prints a shell script that computes each step with coreutils (b3sum for BLAKE3, openssl
for signatures), and prints the results. The script is safe to run: the bytes of the explained
object are escaped, so they cannot run a command. The script begins with the contents of an object
if its archive has at most 1 MiB, else with their hash. Long texts are cut, except with --full,
--json and --commands. The exit code is 1 if a computed path is not the one in the store or in the
derivation, or if no trusted key has signed a path that is not content-addressed. On a terminal,
sentences are wrapped to its width, and $PIX_PAGER, $PAGER or less shows what does not fit.`,
		Example: "  pix explain /nix/store/...-hello.drv\n" +
			"  pix explain --commands /nix/store/...-source | sh\n" +
			"  pix explain --signatures /nix/store/...-hello\n" +
			"  pix explain --why-rebuilt old.drv /nix/store/...-hello.drv\n" +
			"  pix explain --affects --json /nix/store/...-hello.drv\n" +
			"  pix explain sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeInstallables),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.keysGiven = cmd.Flags().Changed("trusted-public-keys")
			if err := o.check(args[0]); err != nil {
				return wrongUse(cmd, err)
			}
			return a.withDerivations(func(src *drvSource) error { return a.explain(cmd.Context(), src, args[0], &o) })
		},
	}
	o.addFlags(a, cmd)
	return cmd
}

func (o *explainOptions) addFlags(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.asJSON, "json", false, "print an object with all steps")
	flags.BoolVar(&o.markdown, "markdown", false, "print Markdown")
	flags.BoolVar(&o.commands, "commands", false, "print a shell script that computes each step")
	flags.StringVar(&o.files, "files", "", "the `directory` into which --commands writes texts of more than 64 KiB; it is created")
	flags.BoolVar(&o.full, "full", false, "do not cut long texts and lists")
	flags.BoolVar(&o.archive, "archive", false, "explain the archive of a path, or the archive in a file")
	flags.BoolVar(&o.signatures, "signatures", false, "explain the signatures of a path")
	flags.StringVar(&o.against, "against", "", "compare with the explanation of `OTHER`")
	flags.StringVar(&o.whyRebuilt, "why-rebuilt", "", "print why DRV is built again after the derivation `OLD`")
	flags.BoolVar(&o.affects, "affects", false, "print which derivations affect the output paths of DRV")
	flags.StringArrayVar(&o.keys.keys, "trusted-public-keys", nil, "public `keys`, with spaces between them, instead of the ones of nix.conf")
	completeFlag(cmd, "files", completeDirs)
	completeFlag(cmd, "against", a.completeInstallables)
	completeFlag(cmd, "why-rebuilt", a.completeDrvFiles)
	freeValue(cmd, "trusted-public-keys")
}

// check checks that the flags fit together, and to the argument.
func (o *explainOptions) check(arg string) error {
	switch {
	case countTrue(o.asJSON, o.markdown, o.commands) > 1:
		return errors.New("--json, --markdown and --commands exclude each other")
	case o.files != "" && !o.commands:
		return errors.New("--files is for --commands")
	case o.keysGiven && !o.signatures && filepath.Ext(arg) != ".narinfo":
		return errors.New("--trusted-public-keys is for --signatures, or for a .narinfo file")
	case arg == "-" && (o.against == "-" || o.whyRebuilt == "-"):
		return errors.New("only one of two derivations can be on standard input")
	case o.archive && o.signatures:
		return errors.New("--archive and --signatures exclude each other")
	case countTrue(o.against != "", o.whyRebuilt != "", o.affects) > 1:
		return errors.New("--against, --why-rebuilt and --affects exclude each other")
	case (o.whyRebuilt != "" || o.affects) && (o.archive || o.signatures):
		return errors.New("--why-rebuilt and --affects are for derivations, without --archive and --signatures")
	case (o.against != "" || o.whyRebuilt != "" || o.affects) && (o.markdown || o.commands):
		return errors.New("--markdown and --commands are for explanations, without --against, --why-rebuilt and --affects")
	}
	return nil
}

// countTrue returns the number of conditions that are true.
func countTrue(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// textOptions returns the options of the text form.
func (a *app) textOptions(o *explainOptions) *explain.TextOptions {
	t := &explain.TextOptions{Color: a.color.on(a.stdout, a.getenv), Full: o.full}
	if isTerminal(a.stdout) {
		t.Columns = columnsOf(a.stdout)
	}
	return t
}

// explain explains an argument, or compares it with another one.
func (a *app) explain(ctx context.Context, src *drvSource, arg string, o *explainOptions) error {
	switch {
	case o.whyRebuilt != "":
		for _, drv := range []string{o.whyRebuilt, arg} {
			if err := src.checkDerivation(drv); err != nil {
				return err
			}
		}
		return a.explainRebuild(ctx, src, o.whyRebuilt, arg, o)
	case o.affects:
		if err := src.checkDerivation(arg); err != nil {
			return err
		}
		return a.explainInfluence(ctx, src, arg, o)
	}
	e, err := a.explainArg(ctx, src, arg, o)
	if err != nil {
		return err
	}
	if o.against == "" {
		return a.printExplanation(ctx, e, o)
	}
	other, err := a.explainArg(ctx, src, o.against, o)
	if err != nil {
		return err
	}
	c := explain.Compare(other, e)
	if err := a.pageEither(ctx, string(c.AppendText(nil, a.textOptions(o))), c, o.asJSON); err != nil {
		return err
	}
	if c.First() != nil {
		return &silentError{exitNo}
	}
	return nil
}

// printExplanation prints an explanation in the form of the flags.
func (a *app) printExplanation(ctx context.Context, e *explain.Explanation, o *explainOptions) error {
	var err error
	switch {
	case o.asJSON:
		err = a.printJSON(e)
	case o.markdown:
		err = a.page(ctx, string(e.AppendMarkdown(nil, o.full)))
	case o.commands:
		err = a.printScript(e, o.files)
	default:
		err = a.page(ctx, string(e.AppendText(nil, a.textOptions(o))))
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
	if len(script.Files) > 0 {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	for _, f := range script.Files {
		err := createFile(filepath.Join(dir, f.Name), f.Contents)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w; name another directory with --files", err)
		} else if err != nil {
			return err
		}
	}
	return a.print(script.Text)
}

// createFile writes a new file. In a directory that other users may change, it follows no symlink and replaces nothing.
func createFile(name, contents string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(contents)
	return errors.Join(err, f.Close())
}
