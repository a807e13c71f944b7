package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
Bytes that are not UTF-8 are printed as they are. A store path that is no file on this machine is
asked of the store.

With --json-version it is one of the forms that Nix itself has had: 1 up to Nix 2.22, 2 up to
2.31, 3 in 2.32, 4 since 2.33.`,
		Example:           "  pix drv-show /nix/store/...-hello.drv",
		GroupID:           groupDerivations,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeDrvFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDerivations(func(src *drvSource) error {
				if cmd.Flags().Changed("json-version") || recursive {
					return a.showDocument(cmd.Context(), src, args, derivation.JSONVersion(version), recursive)
				}
				return a.showFiles(cmd.Context(), src, args)
			})
		},
	}
	cmd.Flags().IntVar(&version, "json-version", int(derivation.NewestJSONVersion), "print Nix's own form of that `version`, 1 to 4")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "with all their inputs, in Nix's own form")
	valuesOf(cmd, "json-version", "1", "2", "3", "4")
	return cmd
}

// showFiles prints derivations as they stand in the files, one alone or several by the
// names that they were given by.
func (a *app) showFiles(ctx context.Context, src *drvSource, files []string) error {
	var compact []byte
	for i, file := range files {
		d, err := src.read(ctx, file)
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

// showDocument prints derivations in one of Nix's own forms.
func (a *app) showDocument(ctx context.Context, src *drvSource, files []string, version derivation.JSONVersion, recursive bool) error {
	if version < derivation.JSONVersion1 || version > derivation.NewestJSONVersion {
		return &usageError{fmt.Errorf("no JSON version %d; expected 1 to %d", version, derivation.NewestJSONVersion)}
	}
	var shown derivation.Map[storepath.Path, *derivation.Derivation]
	for _, file := range files {
		d, err := src.readNamed(ctx, file)
		if err != nil {
			return err
		}
		shown.Set(d.path, d.Derivation)
		if !recursive {
			continue
		}
		inputs, err := inputsOf(ctx, d)
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

// inputsOf loads all that d is built from.
func inputsOf(ctx context.Context, d *sourceDrv) (*derivation.Closure, error) {
	var roots []storepath.Path
	for path := range d.InputDerivations.Keys() {
		roots = append(roots, path)
	}
	return derivation.LoadClosure(ctx, d.inputs, roots, nil)
}
