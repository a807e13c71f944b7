package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

func newDrvAdd(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "drv-add [FILE]",
		Short: "Add a derivation to the store, from JSON or a .drv file",
		Long: `Add a derivation to the store, and print its path. FILE is JSON in any version of
Nix's format, or a .drv file; standard input is read if it is - or left out.

For JSON, missing output paths are computed, and the variables of the outputs, which must exist and
may be empty, are set to them. A .drv file is added unchanged; wrong output paths in it are an
error. All inputs must be in the store.`,
		Example: "  pix drv-show --json-version 4 hello.drv | pix drv-add",
		GroupID: groupDerivations,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 1 {
				file = args[0]
			}
			text, err := a.readFile(file)
			if err != nil {
				return err
			}
			dir, err := a.dir()
			if err != nil {
				return err
			}
			n, err := parseNew(dir, text, cmp.Or(name, derivationName(dir, file)))
			if err != nil {
				return fmt.Errorf("'%s': %w", file, err)
			}
			ctx := a.follow(cmd.Context())
			s, err := a.open(ctx, toCreate)
			if err != nil {
				return err
			}
			defer s.Close()
			path, err := n.add(ctx, s)
			if err != nil {
				return fmt.Errorf("'%s': %w", file, err)
			}
			return a.print(string(path) + "\n")
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `name` of the derivation (default the name in JSON or in the name of FILE, then the variable name)")
	freeValue(cmd, "name")
	return cmd
}

// derivationName returns the name of a derivation from the name of its .drv file, with or without a hash part; ""
// if it is not the name of a .drv file.
func derivationName(dir storepath.Dir, file string) string {
	base := filepath.Base(file)
	if path, err := dir.ParseBase(base); err == nil {
		base = path.Name()
	}
	name, ok := strings.CutSuffix(base, storepath.DerivationExt)
	if !ok {
		return ""
	}
	return name
}

// A newDerivation is a derivation that a verb adds.
type newDerivation struct {
	*derivation.Derivation
	text string // the .drv file; "" for JSON
}

// parseNew parses JSON or the text of a .drv file. name is the name of the derivation, or "" if the text has it.
func parseNew(dir storepath.Dir, text, name string) (*newDerivation, error) {
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		d, err := derivation.ParseJSON(text, &derivation.JSONOptions{Dir: dir, Name: name})
		if err != nil && strings.Contains(text, `"platform":`) {
			err = fmt.Errorf("%w; if this is from 'pix drv-show', print it with --json-version 4", err)
		}
		return &newDerivation{Derivation: d}, err
	}
	d, err := (&derivation.ParseOptions{Dir: dir, Canonical: true}).Parse(text)
	if err != nil {
		return nil, err
	}
	if d.Name = name; name == "" {
		if d.Name, _ = d.Env.Get("name"); d.Name == "" {
			return nil, &usageError{errors.New("the derivation has no name; give it one with --name")}
		}
	}
	d.Dir = dir
	return &newDerivation{Derivation: d, text: text}, nil
}

// add checks the derivation, computes the output paths that JSON may leave out, and adds it to s.
func (n *newDerivation) add(ctx context.Context, s store.Store) (storepath.Path, error) {
	inputs, err := derivation.LoadInputHashes(ctx, store.Derivations(s), n.Derivation)
	if err != nil {
		return "", err
	}
	if n.text == "" {
		if err := n.FillOutputPaths(inputs, nil); err != nil {
			return "", err
		}
	} else if err := n.CheckOutputPaths(inputs, nil); err != nil {
		return "", err
	}
	if err := n.Validate(); err != nil {
		return "", err
	}
	return store.AddText(ctx, s, n.Name+storepath.DerivationExt, n.String(), n.References().Slice())
}
