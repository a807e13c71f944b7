package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newValidPaths(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "valid-paths",
		Short:   "Print all valid paths of the store",
		Example: "  pix valid-paths | wc -l",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				paths, err := store.AllValidPaths(ctx, s)
				if err != nil {
					return err
				}
				return a.printPaths(paths, asJSON)
			})
		},
	}
	addPathsJSONFlag(cmd, &asJSON)
	return cmd
}

func newClosure(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "closure PATH...",
		short:   "Print paths and all that they refer to, and so on",
		example: "  pix closure /nix/store/...-hello",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			var all []storepath.Path
			for info, err := range store.Closure(ctx, s, paths...) {
				if err != nil {
					return nil, err
				}
				all = append(all, info.Path)
			}
			return union([][]storepath.Path{all}), nil
		},
	})
}

func newReferrers(a *app) *cobra.Command {
	var closure bool
	cmd := newPathVerb(a, pathVerb{
		use:     "referrers PATH...",
		short:   "Print the valid paths that refer to paths",
		example: "  pix referrers --closure /nix/store/...-glibc-2.40",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			if closure {
				return referrersClosure(ctx, s, paths)
			}
			return askEach(ctx, s, paths, store.Referrers)
		},
	})
	cmd.Flags().BoolVar(&closure, "closure", false, "also those that refer to these, and so on, and the paths themselves")
	return cmd
}

// referrersAtOnce is how many paths are asked about at once whose referrers may be very many.
const referrersAtOnce = 32

// referrersClosure adds to paths all that refer to them, and so on. A walk counts what the store tells,
// as for closures: referrers are references backwards.
func referrersClosure(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
	var all []storepath.Path
	w := store.NewWalk(s.Dir(), "this store", store.LimitsOf(s), 0)
	for todo := w.Start(paths...); len(todo) > 0; todo = w.Next() {
		all = append(all, todo...)
		_, err := w.Ask(ctx, todo, referrersAtOnce, func(ctx context.Context, i int) (*store.PathInfo, string, error) {
			referrers, err := store.Referrers(ctx, s, todo[i])
			return &store.PathInfo{Path: todo[i], References: referrers}, "", err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

func newDerivers(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "derivers PATH...",
		short:   "Print the valid derivations that have paths as outputs",
		example: "  pix derivers /nix/store/...-hello",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			return askEach(ctx, s, paths, store.ValidDerivers)
		},
	})
}

func newOutputs(a *app) *cobra.Command {
	var asJSON bool
	cmd := newPathVerb(a, pathVerb{
		use:      "outputs DRV...",
		short:    "Print the output paths of derivations",
		long:     "Print the output paths of derivations, a line each. Paths that are not known before the build\nare left out; with --json they are null.",
		example:  "  pix outputs /nix/store/...-hello.drv",
		complete: a.completeDerivations,
		run: func(ctx context.Context, s store.Store, drvs []storepath.Path) error {
			for _, drv := range drvs {
				if !drv.IsDerivation() {
					return &usageError{fmt.Errorf("'%s' is no derivation, and so has no outputs", drv)}
				}
			}
			outputs := make([]map[string]storepath.Path, len(drvs))
			err := forEach(ctx, drvs, func(ctx context.Context, i int) (err error) {
				outputs[i], err = store.OutputMap(ctx, s, drvs[i])
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(outputsJSON(drvs, outputs))
			}
			return a.printPaths(knownOutputs(outputs), false)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object of outputs by name, keyed by derivation")
	return cmd
}

func outputsJSON(drvs []storepath.Path, outputs []map[string]storepath.Path) map[storepath.Path]map[string]*string {
	object := make(map[storepath.Path]map[string]*string, len(drvs))
	for i, drv := range drvs {
		object[drv] = make(map[string]*string, len(outputs[i]))
		for name, path := range outputs[i] {
			object[drv][name] = orNull(string(path))
		}
	}
	return object
}

// knownOutputs returns the paths by derivation and name.
func knownOutputs(outputs []map[string]storepath.Path) (paths []storepath.Path) {
	for _, m := range outputs {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if m[name] != "" {
				paths = append(paths, m[name])
			}
		}
	}
	return paths
}

func newSubstitutable(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "substitutable PATH...",
		short:   "Print those paths that the store's substituters have",
		example: "  pix substitutable /nix/store/...-hello",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			return store.SubstitutablePaths(ctx, s, paths)
		},
	})
}

// askEach asks about each path, many at once, and returns what was found, each path once.
func askEach(ctx context.Context, s store.Store, paths []storepath.Path, ask func(context.Context, store.Store, storepath.Path) ([]storepath.Path, error)) ([]storepath.Path, error) {
	found := make([][]storepath.Path, len(paths))
	err := forEach(ctx, paths, func(ctx context.Context, i int) (err error) {
		found[i], err = ask(ctx, s, paths[i])
		return err
	})
	return union(found), err
}
