package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/storepath"
)

func newDrvShow(a *app) *cobra.Command {
	var version int
	var recursive bool
	cmd := &cobra.Command{
		Use:   "drv-show DRV...",
		Short: "Print .drv files as JSON",
		Long: `Print .drv files as JSON: for one an object with outputs, inputDrvs, inputSrcs, platform,
builder, args and env, as they stand in the file; for several an object of these, keyed by path.
Bytes that are not UTF-8 are printed as they are.

With --json-version it is one of the forms that Nix itself has had: 1 up to Nix 2.22, 2 up to
2.31, 3 in 2.32, 4 since 2.33.`,
		Example:           "  pix drv-show /nix/store/...-hello.drv",
		GroupID:           groupDerivations,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeDrvFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("json-version") || recursive {
				return a.showDocument(cmd.Context(), args, derivation.JSONVersion(version), recursive)
			}
			return a.showFiles(args)
		},
	}
	cmd.Flags().IntVar(&version, "json-version", int(derivation.NewestJSONVersion), "print Nix's own form of that `version`, 1 to 4")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "with all their inputs, in Nix's own form")
	valuesOf(cmd, "json-version", "1", "2", "3", "4")
	return cmd
}

// showFiles prints derivations as they stand in the files, one alone or several by the
// names that they were given by.
func (a *app) showFiles(files []string) error {
	var compact []byte
	for i, file := range files {
		_, d, err := readDerivation(file)
		if err != nil {
			return err
		}
		if len(files) > 1 {
			compact = append(compact, "{,"[min(i, 1)])
			compact = append(append(compact, quoteJSON(file)...), ':')
		}
		compact = d.AppendShow(compact, "")
	}
	if len(files) > 1 {
		compact = append(compact, '}')
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return err
	}
	return a.print(b.String() + "\n")
}

func quoteJSON(s string) string {
	text, _ := marshalJSON(s) // a string can always be marshalled
	return strings.TrimSuffix(text, "\n")
}

// readDerivation reads a .drv file. Its errors name the file.
func readDerivation(file string) (text string, d *derivation.Derivation, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	text = string(b)
	if d, err = derivation.Parse(text); err != nil {
		return "", nil, fmt.Errorf("'%s': %w", file, err)
	}
	return text, d, nil
}

// showDocument prints derivations in one of Nix's own forms.
func (a *app) showDocument(ctx context.Context, files []string, version derivation.JSONVersion, recursive bool) error {
	if version < derivation.JSONVersion1 || version > derivation.NewestJSONVersion {
		return &usageError{fmt.Errorf("no JSON version %d; expected 1 to %d", version, derivation.NewestJSONVersion)}
	}
	var shown derivation.Map[storepath.Path, *derivation.Derivation]
	for _, file := range files {
		path, d, err := a.readNamed(file)
		if err != nil {
			return err
		}
		shown.Set(path, d)
		if !recursive {
			continue
		}
		inputs, err := inputsOf(ctx, file, d)
		if err != nil {
			return err
		}
		for path, d := range inputs.All() {
			shown.Set(path, d)
		}
	}
	text, err := derivation.AppendJSONDocument(nil, shown, version, "  ")
	if err != nil {
		return err
	}
	return a.print(string(text) + "\n")
}

// inputsOf loads all that d, which was read from file, is built from. Inputs lie beside it.
func inputsOf(ctx context.Context, file string, d *derivation.Derivation) (*derivation.Closure, error) {
	var roots []storepath.Path
	for path := range d.InputDerivations.Keys() {
		roots = append(roots, path)
	}
	return derivation.LoadClosure(ctx, derivation.Directory(filepath.Dir(file)), roots, nil)
}

// readNamed reads a .drv file, and says which store path it has: that of its name, or, if
// that is no more than a name, the one that follows from its contents.
func (a *app) readNamed(file string) (storepath.Path, *derivation.Derivation, error) {
	_, d, err := readDerivation(file)
	if err != nil {
		return "", nil, err
	}
	if d.Dir == "" || a.storeDir != "" {
		if d.Dir, err = a.dir(); err != nil {
			return "", nil, err
		}
	}
	base := filepath.Base(file)
	if path, err := d.Dir.ParseBase(base); err == nil && path.IsDerivation() {
		d.Name, err = derivation.NameOf(path)
		return path, d, err
	}
	d.Name = strings.TrimSuffix(base, storepath.DerivationExt)
	path, err := d.Path()
	if err != nil {
		return "", nil, fmt.Errorf("'%s': %w", file, err)
	}
	return path, d, nil
}
