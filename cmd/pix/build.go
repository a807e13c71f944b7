package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A buildForm says what build does besides building, and what it prints.
type buildForm struct {
	printOutPaths, asJSON, dryRun bool
	check, repair, keepGoing      bool
	outLink                       string // where symlinks to the outputs are made; "" for none
	maxJobs                       uint32
}

func newBuild(a *app) *cobra.Command {
	var form buildForm
	var stdin, rebuild bool
	cmd := &cobra.Command{
		Use:   "build INSTALLABLE...",
		Short: "Build outputs of derivations, or substitute paths",
		Long: `Build outputs of derivations, or substitute paths. An installable is a store path, or a
derivation, ^ and its outputs: /nix/store/...-hello.drv^out, ^out,dev or ^* for all. Standard
error gets the lines of build logs or, on a terminal, a view of what is built and what is to
come. With --json how each build ended is printed, also if it failed.

With --out-link symlinks to what was built are made, which keep it from being collected: NAME,
NAME-dev for an output other than out, NAME-2 for the second installable.`,
		Example:           "  pix build --print-out-paths '/nix/store/...-hello.drv^*'",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			form.check = form.check || rebuild
			if form.check && form.repair {
				return wrongUse(cmd, errors.New("--check and --repair exclude each other"))
			}
			if form.outLink == "" && cmd.Flags().Changed("out-link") {
				return wrongUse(cmd, errors.New("the name of --out-link is empty"))
			}
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			return a.runBuild(cmd.Context(), args, form)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&form.printOutPaths, "print-out-paths", false, "print the paths that were built, a line each")
	flags.BoolVar(&form.asJSON, "json", false, "print how each build ended, as a list of objects; with --dry-run what it would take")
	flags.BoolVar(&form.dryRun, "dry-run", false, "print what would be built and substituted, and do nothing")
	flags.StringVarP(&form.outLink, "out-link", "o", "", "make symlinks to what was built under this `name`")
	flags.BoolVar(&form.check, "check", false, "build again what is valid, and compare; what is not valid is an error")
	flags.BoolVar(&rebuild, "rebuild", false, "the same as --check")
	flags.BoolVar(&form.repair, "repair", false, "build or fetch again what is damaged; needs a trusted user")
	flags.BoolVarP(&form.keepGoing, "keep-going", "k", false, "after a failure build all that does not need what failed")
	flags.Uint32VarP(&form.maxJobs, "max-jobs", "j", 1, "the `number` of derivations to build at once")
	freeValue(cmd, "max-jobs")
	addStdinFlag(cmd, &stdin)
	return cmd
}

// runBuild opens the store and builds the installables of the arguments.
func (a *app) runBuild(ctx context.Context, args []string, form buildForm) error {
	installables, err := a.installables(args)
	if err != nil {
		return err
	}
	a.explainPlainDerivations(installables)
	if form.keepGoing || form.maxJobs > 0 {
		a.settings = daemon.DefaultSettings()
		a.settings.KeepGoing = form.keepGoing
		a.settings.MaxBuildJobs = cmp.Or(form.maxJobs, 1)
	}
	access := toCreate
	if form.dryRun {
		access = toRead
	}
	return a.withStore(ctx, access, func(ctx context.Context, s store.Store) error {
		if form.outLink != "" {
			if err := onThisMachine(ctx, s, "a root is a symlink there"); err != nil {
				return err
			}
		}
		if !form.dryRun {
			defer a.showPlan(ctx, s, installables)() // on connections of its own
		}
		return store.InSession(ctx, s, func(s store.Store) error {
			return a.build(ctx, s, installables, form)
		})
	})
}

func (a *app) build(ctx context.Context, s store.Store, installables []derivation.DerivedPath, form buildForm) error {
	mode := buildMode(form.check, form.repair)
	switch {
	case form.dryRun:
		return a.printMissing(ctx, s, installables, form.asJSON)
	case form.asJSON:
		if err := a.buildWithResults(ctx, s, installables, mode); err != nil {
			return err
		}
		return linkOutputs(ctx, s, installables, form.outLink)
	}
	err := store.BuildPaths(ctx, s, installables, mode)
	if err = a.progress.end(err); err != nil {
		return err
	}
	if err := linkOutputs(ctx, s, installables, form.outLink); err != nil {
		return err
	}
	if !form.printOutPaths {
		return a.print("build succeeded\n")
	}
	paths, err := outPaths(ctx, s, installables)
	if err != nil {
		return err
	}
	return a.print(paths)
}

func buildMode(check, repair bool) store.BuildMode {
	switch {
	case check:
		return store.BuildCheck
	case repair:
		return store.BuildRepair
	}
	return store.BuildNormal
}

// printMissing prints what it would take to build.
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
			DownloadSize:   missing.DownloadSize, NARSize: missing.NARSize,
		})
	}
	var b strings.Builder
	for _, part := range []struct {
		what  string
		paths []storepath.Path
	}{
		{"would be built", missing.WillBuild},
		{"would be substituted", missing.WillSubstitute},
		{"cannot be had", missing.Unknown},
	} {
		for _, p := range part.paths {
			fmt.Fprintf(&b, "%s: %s\n", part.what, p)
		}
	}
	return a.print(b.String())
}

// A missingJSON is what it would take to build, as build --dry-run --json prints it.
type missingJSON struct {
	WillBuild      []storepath.Path `json:"willBuild"`
	WillSubstitute []storepath.Path `json:"willSubstitute"`
	Unknown        []storepath.Path `json:"unknown"`      // can neither be built nor substituted
	DownloadSize   uint64           `json:"downloadSize"` // in bytes, compressed, as far as it is known
	NARSize        uint64           `json:"narSize"`      // in bytes, of what is substituted
}

// A buildJSON is how a build ended, as build --json prints it.
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

// explainPlainDerivations says of each derivation without outputs that nothing is built: people
// expect something else, and in old versions of Nix it was.
func (a *app) explainPlainDerivations(installables []derivation.DerivedPath) {
	for _, i := range installables {
		if plain, ok := i.(derivation.Opaque); ok && plain.Path.IsDerivation() {
			fmt.Fprintf(a.stderr, "pix: note: %s is the file itself; its outputs are '%[1]s^*'\n", plain.Path)
		}
	}
}

// installables parses what is to be built.
func (a *app) installables(args []string) ([]derivation.DerivedPath, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	installables := make([]derivation.DerivedPath, len(args))
	for i, arg := range args {
		parse := derivation.ParseDerivedPath
		if strings.Contains(arg, "!") { // as older versions of Nix have it
			parse = derivation.ParseLegacyDerivedPath
		}
		if installables[i], err = parse(dir, arg); err != nil {
			return nil, &usageError{fmt.Errorf("%w; expected a store path, or a derivation, ^ and its outputs", err)}
		}
	}
	return installables, nil
}
