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
		Long: `Add a derivation to the store, and print its path. FILE is a .drv file, or JSON in any
version of Nix's format or in the format of 'pix drv-show'; standard input is read if it is - or
left out.

For JSON, missing output paths are computed, and the variables of the outputs are set to them if
they are missing or empty. Several derivations in a JSON object keyed by path are added in the order
of their inputs. A .drv file is added unchanged; wrong output paths in it are an error. All inputs
must be in the store.`,
		Example: "  pix drv-show hello.drv | pix drv-add\n  pix drv-show -r hello.drv | pix drv-add",
		GroupID: groupDerivations,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 1 {
				file = args[0]
			}
			text, err := a.readDerivations(cmd.Context(), file)
			if err != nil {
				return err
			}
			dir, err := a.dir()
			if err != nil {
				return err
			}
			news, err := parseNews(dir, text, cmp.Or(name, derivationName(dir, file)))
			if err != nil {
				return fmt.Errorf("%s: %w", inputName(file), err)
			}
			ctx := a.follow(cmd.Context())
			s, err := a.open(ctx, toCreate)
			if err != nil {
				return err
			}
			defer s.Close()
			known := make(store.ModuloHashes)
			for _, n := range news {
				path, err := n.add(ctx, s, known)
				if err != nil {
					return fmt.Errorf("%s: %w", inputName(file), err)
				}
				if err := a.print(string(path) + "\n"); err != nil {
					return err
				}
			}
			return nil
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

// readDerivations returns the text of a .drv file, or JSON, which may be larger because it may have many derivations.
func (a *app) readDerivations(ctx context.Context, file string) (string, error) {
	src, err := a.openContents(ctx, file)
	if err != nil {
		return "", err
	}
	defer src.Close()
	text, err := readUpTo(ctx, src, file, derivation.MaxFile)
	if errors.As(err, new(*tooLargeError)) && isJSON(string(text)) {
		var more []byte // after the beginning that the first readUpTo has returned
		more, err = readUpTo(ctx, src, file, maxText)
		text = append(text, more...)
	}
	return string(text), err
}

// A newDerivation is a derivation that a verb adds.
type newDerivation struct {
	*derivation.Derivation
	text string         // the .drv file; "" for JSON
	path storepath.Path // the path that it must get; "" for any
}

// parseNews parses JSON or the text of a .drv file. The derivations of a JSON object keyed by path come in the order of their
// inputs.
func parseNews(dir storepath.Dir, text, name string) ([]*newDerivation, error) {
	if !isJSON(text) {
		n, err := parseNew(dir, text, name)
		return []*newDerivation{n}, err
	}
	d, err := derivation.ParseJSON(text, &derivation.JSONOptions{Dir: dir, Name: name})
	if err == nil {
		return []*newDerivation{{Derivation: d}}, nil
	}
	all, documentErr := derivation.ParseJSONDocument(text, &derivation.JSONOptions{Dir: dir})
	if documentErr != nil || all.Len() < 2 {
		return nil, err
	}
	var news []*newDerivation
	visited := make(map[storepath.Path]bool, all.Len())
	var visit func(path storepath.Path)
	visit = func(path storepath.Path) {
		d, ok := all.Get(path)
		if !ok || visited[path] {
			return
		}
		visited[path] = true // a cycle ends here, and the path of one member is wrong
		for input := range d.InputDerivations.Keys() {
			visit(input)
		}
		news = append(news, &newDerivation{Derivation: d, path: path})
	}
	for path := range all.Keys() {
		visit(path)
	}
	return news, nil
}

// isJSON reports whether a text is JSON and no .drv file.
func isJSON(text string) bool { return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") }

// parseNew parses the text of a .drv file. name is the name of the derivation, or "" for the variable "name".
func parseNew(dir storepath.Dir, text, name string) (*newDerivation, error) {
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

// add checks the derivation, computes the output paths that JSON may leave out, and adds it to s. It uses known and adds
// the hash of the derivation to it.
func (n *newDerivation) add(ctx context.Context, s store.Store, known store.ModuloHashes) (storepath.Path, error) {
	inputs, err := known.InputsOf(ctx, s, n.Derivation)
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
	if path, err := n.Path(); err == nil && n.path != "" && path != n.path {
		return "", fmt.Errorf("'%s' has been changed and would get the path '%s'; add it alone, and then the derivations that need it", n.path, path)
	}
	path, err := store.AddText(ctx, s, n.Name+storepath.DerivationExt, n.String(), n.References().Slice())
	if err != nil {
		return "", err
	}
	if hash, err := n.HashModulo(derivation.AsInput, inputs, nil); err == nil {
		known[path] = hash
	}
	return path, nil
}
