package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// buildOptions are the flags of build.
type buildOptions struct {
	noOutPaths, asJSON, dryRun bool
	check, repair              bool
	outLink                    string // the name of symlinks to the outputs; "" for none
}

func newBuild(a *app) *cobra.Command {
	var o buildOptions
	var stdin, rebuild, printOutPaths, noLink bool
	cmd := &cobra.Command{
		Use:   "build INSTALLABLE...",
		Short: "Build outputs of derivations, or substitute paths",
		Long: `Build outputs of derivations, or substitute paths. An installable is a store path, or a
derivation, ^ and its outputs: /nix/store/...-hello.drv^out, ^out,dev or ^* for all. Prints the
output paths, a line each. Standard error gets the lines of build logs or, on a terminal, a live
view of the builds. With --json the result of each build is printed, even if a build failed.

A daemon uses its own settings. If flags, NIX_CONFIG or the user's nix.conf set some, all of
--max-jobs, --cores, --keep-going, --keep-failed, --fallback, --max-silent-time and the setting
substitute are sent to it, with the values of this machine for those that are not set.

With --out-link symlinks to the outputs are made, which keep them from being collected: NAME,
NAME-dev for an output other than out, NAME-2 for the second installable. If the store is elsewhere
than at its store directory, they lead nowhere, but pix ls, cat, run and shell accept them.`,
		Example:           "  pix build '/nix/store/...-hello.drv^*'",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.check = o.check || rebuild
			if o.check && o.repair {
				return wrongUse(cmd, errors.New("--check and --repair exclude each other"))
			}
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			return a.runBuild(cmd.Context(), args, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.noOutPaths, "no-out-paths", false, "do not print the output paths")
	flags.BoolVar(&printOutPaths, "print-out-paths", false, "")
	flags.MarkHidden("print-out-paths") //nolint:errcheck // Nix's name for what build does by default
	flags.BoolVar(&noLink, "no-link", false, "")
	flags.MarkHidden("no-link") //nolint:errcheck // also the default: there are no links without --out-link
	flags.BoolVar(&o.asJSON, "json", false, "print the result of each build, as a list of objects; with --dry-run the plan")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would be built and substituted, and do nothing")
	flags.StringVarP(&o.outLink, "out-link", "o", "", "make symlinks to the outputs under this `name`")
	flags.BoolVar(&o.check, "check", false, "build valid outputs again, and compare; an output that is not valid is an error")
	flags.BoolVar(&rebuild, "rebuild", false, "the same as --check")
	flags.BoolVar(&o.repair, "repair", false, "build or fetch damaged paths again; needs a trusted user")
	a.addSettingFlags(cmd)
	addStdinFlag(cmd, &stdin)
	return cmd
}

// runBuild opens the store and builds the installables named by the arguments.
func (a *app) runBuild(ctx context.Context, args []string, o buildOptions) error {
	names, err := a.names(args)
	if err != nil {
		return err
	}
	open := openOptions{access: toCreate, building: true}
	if o.dryRun {
		open.access = toRead
	}
	return a.withStoreOpened(ctx, open, func(ctx context.Context, s store.Store) error {
		if o.outLink != "" {
			if err := onThisMachine(ctx, s, "roots are symlinks on that machine"); err != nil {
				return err
			}
		}
		installables, err := derivedPathsOf(ctx, s, names)
		if err != nil {
			return err
		}
		a.explainPlainDerivations(installables)
		if !o.dryRun {
			var saveTimes func()
			ctx, saveTimes = a.useBuildTimes(ctx, s)
			defer saveTimes()
			stop := a.startPlan(ctx, s, installables) // on connections of its own, beside the session
			defer stop()
		}
		return store.InSession(ctx, s, func(s store.Store) error {
			if a.progress.json != nil && !o.dryRun {
				if err := a.announce(ctx, s, installables); err != nil {
					return err
				}
			}
			return a.build(ctx, s, installables, o)
		})
	})
}

// build builds the installables, and prints and links the outputs.
func (a *app) build(ctx context.Context, s store.Store, installables []derivation.DerivedPath, o buildOptions) error {
	switch {
	case o.dryRun:
		return a.printMissing(ctx, s, installables, o.asJSON)
	case o.asJSON:
		if err := a.buildWithResults(ctx, s, installables, o.mode()); err != nil {
			return err
		}
		return linkOutputs(ctx, s, installables, o.outLink)
	}
	err := a.buildPaths(ctx, s, installables, o.mode())
	if err = a.progress.end(err); err != nil {
		return err
	}
	if err := linkOutputs(ctx, s, installables, o.outLink); err != nil {
		return err
	}
	if o.noOutPaths {
		return nil
	}
	paths, err := outputLines(ctx, s, installables)
	if err != nil {
		return err
	}
	return a.print(paths)
}

func (o *buildOptions) mode() store.BuildMode {
	switch {
	case o.check:
		return store.BuildCheck
	case o.repair:
		return store.BuildRepair
	}
	return store.BuildNormal
}

// printMissing prints which paths a build would build and substitute.
func (a *app) printMissing(ctx context.Context, s store.Store, installables []derivation.DerivedPath, asJSON bool) error {
	missing, err := store.QueryMissing(ctx, s, installables)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(missingJSON{
			WillBuild:      append([]storepath.Path{}, missing.WillBuild...),
			WillSubstitute: append([]storepath.Path{}, missing.WillSubstitute...),
			Unknown:        append([]storepath.Path{}, missing.Unknown...),
			Dynamic:        derivedPathTexts(missing.Dynamic),
			DownloadSize:   missing.DownloadSize, NARSize: missing.NARSize,
		})
	}
	var b strings.Builder
	for _, part := range []struct {
		label string
		paths []storepath.Path
	}{
		{"would be built", missing.WillBuild},
		{"would be substituted", missing.WillSubstitute},
		{"not available", missing.Unknown},
	} {
		for _, p := range part.paths {
			fmt.Fprintf(&b, "%s: %s\n", part.label, p)
		}
	}
	for _, p := range missing.Dynamic {
		fmt.Fprintf(&b, "known only after a build: %s\n", p)
	}
	return a.print(b.String())
}

// derivedPathTexts returns the texts of derived paths.
func derivedPathTexts(paths []derivation.Built) []string {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = p.String()
	}
	return texts
}

// A missingJSON is the output of build --dry-run --json.
type missingJSON struct {
	WillBuild      []storepath.Path `json:"willBuild"`
	WillSubstitute []storepath.Path `json:"willSubstitute"`
	Unknown        []storepath.Path `json:"unknown"`      // can neither be built nor substituted
	Dynamic        []string         `json:"dynamic"`      // outputs of derivations that are outputs themselves, whose needs are known only after a build
	DownloadSize   uint64           `json:"downloadSize"` // in bytes, compressed; without paths of unknown size
	NARSize        uint64           `json:"narSize"`      // the archives of the substituted paths, in bytes
}

// A buildJSON is the result of one build in the output of build --json.
type buildJSON struct {
	Path      string            `json:"path"` // the installable
	Success   bool              `json:"success"`
	Status    string            `json:"status"`
	Error     *string           `json:"error"`
	Outputs   map[string]string `json:"outputs"`
	StartTime *int64            `json:"startTime"` // in seconds since 1970; null if nothing was built
	StopTime  *int64            `json:"stopTime"`
}

func (a *app) buildWithResults(ctx context.Context, s store.Store, installables []derivation.DerivedPath, mode store.BuildMode) error {
	results, err := store.BuildPathsWithResults(ctx, s, installables, mode)
	if err = a.progress.end(err); err != nil {
		return err
	}
	list := make([]buildJSON, len(results))
	failed := false
	for i, r := range results {
		list[i] = buildJSON{
			Path: r.Path.String(), Success: r.Status.Succeeded(), Status: r.Status.String(),
			Error: orNull(activity.Plain(r.Message)), Outputs: make(map[string]string, len(r.Outputs)),
		}
		for name, output := range r.Outputs {
			list[i].Outputs[name] = string(output.OutPath)
		}
		if !r.Start.IsZero() {
			start, stop := r.Start.Unix(), r.Stop.Unix()
			list[i].StartTime, list[i].StopTime = &start, &stop
		}
		failed = failed || !r.Status.Succeeded()
	}
	if err := a.printJSON(list); err != nil {
		return err
	}
	if failed {
		return &silentError{exitNo}
	}
	return nil
}

// explainPlainDerivations prints a note for each derivation without outputs, which only makes the .drv file
// valid. Old versions of Nix built its outputs, and users still expect that.
func (a *app) explainPlainDerivations(installables []derivation.DerivedPath) {
	for _, i := range installables {
		if plain, ok := i.(derivation.Opaque); ok && plain.Path.IsDerivation() {
			fmt.Fprintf(a.stderr, "pix: note: %s names the .drv file, not its outputs, which are '%[1]s^*'\n", plain.Path)
		}
	}
}
