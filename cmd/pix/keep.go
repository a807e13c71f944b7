package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"pix/internal/sizes"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

func newRoots(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "roots",
		Short:   "Print what keeps paths from being collected",
		Long:    "Print what keeps paths from being collected: a line each, the root, an arrow and the path. Who is\nnot trusted by the daemon does not see all.",
		Example: "  pix roots",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				roots, err := store.Roots(ctx, s)
				if err != nil {
					return err
				}
				sort.Slice(roots, func(i, j int) bool {
					a, b := roots[i], roots[j]
					return a.Link < b.Link || a.Link == b.Link && a.Path < b.Path
				})
				return a.printRoots(roots, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects with link and path")
	return cmd
}

func (a *app) printRoots(roots []store.Root, asJSON bool) error {
	type rootJSON struct {
		Link string         `json:"link"`
		Path storepath.Path `json:"path"`
	}
	objects := make([]rootJSON, len(roots))
	var b strings.Builder
	for i, r := range roots {
		objects[i] = rootJSON{r.Link, r.Path}
		fmt.Fprintf(&b, "%s -> %s\n", r.Link, r.Path)
	}
	if asJSON {
		return a.printJSON(objects)
	}
	return a.print(b.String())
}

func newGC(a *app) *cobra.Command {
	var dryRun, explain, asJSON, stdin bool
	var maxFreed string
	cmd := &cobra.Command{
		Use:   "gc [PATH...]",
		Short: "Collect garbage",
		Long: `Collect garbage: delete the paths that no root needs, or of these only the given ones, which must
not be needed. Prints the paths that were deleted, and on standard error what was freed. A path that
cannot be deleted does not keep others from being deleted; it is named, and the exit code is 1.

With --explain nothing is collected: for each path a root that keeps it is printed, and the way
from there to the path. The exit code is 1 if one of them is garbage.`,
		Example:           "  pix gc --max-freed 10G\n  pix gc --explain /nix/store/...-hello",
		GroupID:           groupKeeping,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if stdin {
				var err error
				if args, err = a.withStdin(cmd, args, stdin); err != nil {
					return err
				}
				if len(args) == 0 && !explain { // which must not mean everything
					return a.printCollected(new(store.GCResult), dryRun, asJSON)
				}
			}
			if explain {
				if dryRun || maxFreed != "" || len(args) == 0 {
					return &usageError{fmt.Errorf("--explain takes paths, and no other flag but --json")}
				}
				return a.explainLiveness(cmd.Context(), args, asJSON)
			}
			opts, err := a.gcOptions(args, dryRun, maxFreed)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
				result, err := store.CollectGarbage(ctx, s, opts)
				if result != nil { // also after an error, if something was deleted
					err = cmp.Or(a.printCollected(result, dryRun, asJSON), err)
				}
				return gcError(err)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "print what would be deleted, and delete nothing")
	flags.BoolVar(&explain, "explain", false, "collect nothing, and print why the paths are no garbage")
	flags.StringVar(&maxFreed, "max-freed", "", "stop when that many `bytes` are freed; K, M, G and T may follow")
	flags.BoolVar(&asJSON, "json", false, "print an object with paths and bytesFreed, or with --explain a list of objects")
	freeValue(cmd, "max-freed")
	addStdinFlag(cmd, &stdin)
	return cmd
}

// gcError returns the error of a collection in the words of pix, where Nix names commands of its own.
func gcError(err error) error {
	alive, ok := errors.AsType[*localstore.AliveError](err)
	switch {
	case !ok:
		return err
	case strings.HasPrefix(alive.Root.Link, "/proc/"):
		return fmt.Errorf("cannot delete '%s', since it is still alive: a running process uses it (%s)", alive.Path, alive.Root.Link)
	}
	return fmt.Errorf("cannot delete '%s', since it is still alive; 'pix gc --explain %[1]s' says why", alive.Path)
}

func (a *app) gcOptions(args []string, dryRun bool, maxFreed string) (store.GCOptions, error) {
	opts := store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}
	if maxFreed != "" {
		n, err := nixconf.ParseSize(maxFreed)
		if err != nil {
			return opts, &usageError{err}
		}
		opts.MaxFreed = n
	}
	if len(args) > 0 {
		paths, err := a.paths(args)
		if err != nil {
			return opts, err
		}
		opts.Action, opts.Paths = store.GCDeleteSpecific, paths
	}
	if dryRun {
		if len(args) > 0 {
			return opts, &usageError{fmt.Errorf("--dry-run is about the whole store, and takes no paths")}
		}
		opts.Action = store.GCReturnDead
	}
	return opts, nil
}

func (a *app) printCollected(result *store.GCResult, dryRun, asJSON bool) error {
	if asJSON {
		return a.printJSON(struct {
			Paths      []string `json:"paths"`
			BytesFreed uint64   `json:"bytesFreed"`
		}{append([]string{}, result.Paths...), result.BytesFreed})
	}
	var b strings.Builder
	for _, p := range result.Paths {
		b.WriteString(p + "\n")
	}
	if err := a.print(b.String()); err != nil {
		return err
	}
	if dryRun {
		fmt.Fprintf(a.stderr, "%d store paths would be deleted\n", len(result.Paths)) // how large they are is not known
	} else {
		fmt.Fprintf(a.stderr, "%d store paths deleted, %s freed\n", len(result.Paths), sizes.Spell(int64(result.BytesFreed)))
	}
	return nil
}

func newVerifyStore(a *app) *cobra.Command {
	var contents, repair bool
	var from string
	cmd := &cobra.Command{
		Use:   "verify-store",
		Short: "Check that the store has what it says it has",
		Long: `Check that the store has what it says it has. What is wrong is said on standard error; the exit
code is 1 if something remains wrong.

Of a binary cache in a directory, the narinfos are checked, their references and signatures, and the
files of their archives. It is repaired by copying the paths to it again (pix copy).

A daemon repairs by building or fetching again. A store in a directory takes objects from another
store, the one of --from.`,
		Example: "  pix verify-store --check-contents\n  pix verify-store --check-contents --from https://cache.example.org",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
				remain, err := a.verify(ctx, s, contents, repair, from)
				if err == nil && remain {
					return &silentError{exitNo}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&contents, "check-contents", false, "also read all objects and compare their hashes")
	cmd.Flags().BoolVar(&repair, "repair", false, "build or fetch again what is damaged; needs a trusted user")
	cmd.Flags().StringVar(&from, "from", "", "repair, with objects of the store of that `URI`")
	completeFlag(cmd, "from", completeURIs)
	return cmd
}

// verify checks a store, and repairs it with objects of the store of the URI from, if there is one.
func (a *app) verify(ctx context.Context, s store.Store, contents, repair bool, from string) (remain bool, err error) {
	if from == "" {
		return store.Verify(ctx, s, contents, repair)
	}
	src, err := a.openWith(ctx, openOptions{uri: from, access: toRead})
	if err != nil {
		return false, err
	}
	defer src.Close()
	return store.VerifyFrom(ctx, s, contents, src)
}

func newOptimise(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "optimise",
		Aliases: []string{"optimize"},
		Short:   "Replace identical files in the store with hard links",
		Long: `Replace identical files in the store with hard links. A file that cannot be linked stays as it is;
it is named, and the exit code is 1.`,
		Example: "  pix optimise",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toChange, store.Optimise)
		},
	}
}
