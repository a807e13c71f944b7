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

// drvShowOptions are the flags of drv-show.
type drvShowOptions struct {
	version   int
	recursive bool
}

func newDrvShow(a *app) *cobra.Command {
	var o drvShowOptions
	cmd := &cobra.Command{
		Use:   "drv-show DRV...",
		Short: "Print .drv files as JSON",
		Long: `Print .drv files as JSON: for one file an object with outputs, inputDrvs, inputSrcs, platform,
builder, args and env, unchanged, and name if it does not follow from them; for several files an
object of such objects, keyed by path. Bytes that are not UTF-8 are printed as they are. DRV may be
any name of a store object (see 'pix help names'): an output stands for its deriver. A derivation
that is not a file on this machine is read from the store.

With --json-version the output is in a version of Nix's own format: 1 up to Nix 2.22, 2 up to 2.31,
3 in 2.32, 4 since 2.33.`,
		Example:           "  pix drv-show /nix/store/...-hello.drv",
		GroupID:           groupDerivations,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeDrvFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDerivations(func(src *drvSource) error {
				if cmd.Flags().Changed("json-version") || o.recursive {
					return a.showDocument(cmd.Context(), src, args, o)
				}
				return a.showFiles(cmd.Context(), src, args)
			})
		},
	}
	cmd.Flags().IntVar(&o.version, "json-version", int(derivation.NewestJSONVersion), "print this `version` of Nix's own format, 1 to 4")
	cmd.Flags().BoolVarP(&o.recursive, "recursive", "r", false, "with all their inputs, in Nix's own format")
	valuesOf(cmd, "json-version", "1", "2", "3", "4")
	return cmd
}

// showFiles prints derivations as they are in the files: the only one alone, several in an object keyed by
// argument.
func (a *app) showFiles(ctx context.Context, src *drvSource, files []string) error {
	var compact []byte
	for i, file := range files {
		d, err := src.readNamed(ctx, file)
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
	text, _ := marshalJSON(s) // marshalling a string cannot fail
	return strings.TrimSuffix(text, "\n")
}

// showDocument prints derivations in a version of Nix's own format.
func (a *app) showDocument(ctx context.Context, src *drvSource, files []string, o drvShowOptions) error {
	version := derivation.JSONVersion(o.version)
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
		if !o.recursive {
			continue
		}
		inputs, err := loadInputs(ctx, d)
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

// loadInputs loads the closure of the inputs of d.
func loadInputs(ctx context.Context, d *sourceDrv) (*derivation.Closure, error) {
	var roots []storepath.Path
	for path := range d.InputDerivations.Keys() {
		roots = append(roots, path)
	}
	return derivation.LoadClosure(ctx, d.inputs, roots, nil)
}
