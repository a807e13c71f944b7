package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// buildTraceOptions are the flags of build-trace.
type buildTraceOptions struct{ stdin, asJSON bool }

func newBuildTrace(a *app) *cobra.Command {
	var o buildTraceOptions
	cmd := &cobra.Command{
		Use:   "build-trace list|info [INSTALLABLE...]",
		Short: "Print which store paths the outputs of derivations have",
		Long: `Print which store paths the outputs of derivations have, a line each with the output and the path.
A store keeps these realisations for content-addressed derivations, whose outputs have no paths
until they are built.

'list' prints all of the store, which must be in a directory, or a cache in a directory. Nix up to
2.34 identifies an output by the hash of its derivation (sha256:...!out), and later versions by
its path (...-hello.drv^out), so one may come twice. A damaged file of a cache is reported, and the
others are printed; the exit code is 1.

'info' prints the realisations of outputs such as /nix/store/...-hello.drv^out or sha256:...!out.
For a path, or an output without a realisation, only the path is printed, as in nix realisation
info.`,
		Example: "  pix build-trace list --store file:///mnt/cache\n" +
			"  pix build-trace info '/nix/store/...-hello.drv^*'",
		GroupID:           groupStore,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeBuildTrace,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch action, args := args[0], args[1:]; {
			case action == "list" && len(args) == 0 && !o.stdin:
				return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
					return a.listBuildTrace(ctx, s, &o)
				})
			case action == "list":
				return wrongUse(cmd, errors.New("'list' is for all realisations of the store; use 'info' for some"))
			case action == "info":
				return a.buildTraceInfo(cmd, args, &o)
			default:
				return wrongUse(cmd, fmt.Errorf("unknown action '%s', expected list or info", action))
			}
		},
	}
	addStdinFlag(cmd, &o.stdin)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print a list of realisations, as JSON in the formats of Nix")
	return cmd
}

// listBuildTrace prints all realisations that can be read, and returns the errors of the others.
func (a *app) listBuildTrace(ctx context.Context, s store.Store, o *buildTraceOptions) error {
	all, unread := store.AllRealisations(ctx, s)
	if unread != nil && !errors.As(unread, new(*store.RealisationsError)) {
		return unread
	}
	if err := a.printRealisations(s.Dir(), all, o.asJSON); err != nil {
		return err
	}
	return unread
}

// completeBuildTrace completes the action, and then installables.
func (a *app) completeBuildTrace(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"list", "info"}, noFiles | cobra.ShellCompDirectiveKeepOrder
	}
	if args[0] != "info" {
		return nil, noFiles
	}
	return a.completeInstallables(cmd, args[1:], word)
}

// buildTraceInfo prints the realisations of the arguments.
func (a *app) buildTraceInfo(cmd *cobra.Command, args []string, o *buildTraceOptions) error {
	args, err := a.withStdin(cmd, args, o.stdin)
	if err != nil {
		return err
	}
	var ids []store.DrvOutput
	var words []string // arguments that name store objects
	for _, arg := range args {
		if id, err := store.ParseHashID(arg); err == nil {
			ids = append(ids, id)
		} else {
			words = append(words, arg)
		}
	}
	names, err := a.names(words)
	if err != nil {
		return err
	}
	return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
		var all []store.KeyedRealisation
		for _, id := range ids {
			r, err := store.QueryRealisation(ctx, s, id)
			if err != nil {
				return err
			}
			all = append(all, store.KeyedRealisation{ID: id, Realisation: *r})
		}
		for i := range names {
			found, err := realisationsOf(ctx, s, &names[i])
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		return a.printRealisations(s.Dir(), all, o.asJSON)
	})
}

// realisationsOf returns the realisations of a name. The ID of a path that is no output is the zero value.
func realisationsOf(ctx context.Context, s store.Store, name *storeName) ([]store.KeyedRealisation, error) {
	path, err := name.derivedPath(ctx, s)
	if err != nil {
		return nil, err
	}
	built, ok := path.(derivation.Built)
	if !ok {
		opaque := store.Realisation{OutPath: path.(derivation.Opaque).Path}
		return []store.KeyedRealisation{{Realisation: opaque}}, nil
	}
	drv, err := resolveDerivation(ctx, s, built.Drv)
	if err != nil {
		return nil, err
	}
	outputs := built.Outputs.Names().Slice()
	if built.Outputs.All() {
		known, err := store.OutputMap(ctx, s, drv)
		if err != nil {
			return nil, err
		}
		for output := range known {
			outputs = append(outputs, output)
		}
		slices.Sort(outputs)
	}
	all := make([]store.KeyedRealisation, len(outputs))
	for i, output := range outputs {
		if all[i], err = realisationOf(ctx, s, store.DrvOutput{Path: drv, Output: output}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// realisationOf returns the realisation of an output, or its path without an ID if the store has none.
func realisationOf(ctx context.Context, s store.Store, id store.DrvOutput) (store.KeyedRealisation, error) {
	r, err := store.QueryRealisation(ctx, s, id)
	if err == nil {
		// The derivation need not be valid, so its hash may be unknown.
		if id.Hash, err = store.DrvHash(ctx, s, id.Path); err != nil && ctx.Err() != nil {
			return store.KeyedRealisation{}, err
		}
		return store.KeyedRealisation{ID: id, Realisation: *r}, nil
	}
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errors.ErrUnsupported) {
		return store.KeyedRealisation{}, err
	}
	outputs, pathErr := derivationOutputs(ctx, s, id.Path, derivation.NamedOutputs(id.Output))
	if pathErr != nil {
		return store.KeyedRealisation{}, pathErr
	}
	return store.KeyedRealisation{Realisation: store.Realisation{OutPath: outputs[0].path}}, nil
}

// printRealisations prints realisations. One without an ID is only a path.
func (a *app) printRealisations(dir storepath.Dir, all []store.KeyedRealisation, asJSON bool) error {
	if asJSON {
		objects := make([]json.RawMessage, len(all))
		for i := range all {
			var err error
			if objects[i], err = realisationJSON(dir, &all[i]); err != nil {
				return err
			}
		}
		return a.printJSON(objects)
	}
	var b strings.Builder
	for _, r := range all {
		if r.ID != (store.DrvOutput{}) {
			b.WriteString(a.shown(r.ID.ID()) + " ")
		}
		b.WriteString(string(r.OutPath) + "\n")
	}
	return a.print(b.String())
}

// realisationJSON returns a realisation in the JSON format of the Nix that has its ID.
func realisationJSON(dir storepath.Dir, r *store.KeyedRealisation) ([]byte, error) {
	switch {
	case !r.ID.Hash.IsZero():
		return r.JSON(dir)
	case r.ID.Path != "":
		return r.TraceJSON(dir)
	}
	return json.Marshal(map[string]storepath.Path{"opaquePath": r.OutPath})
}
