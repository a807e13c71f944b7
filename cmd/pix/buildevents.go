package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pix/activity"
	"pix/cmd/pix/internal/live"
	"pix/derivation"
	"pix/internal/sizes"
	"pix/store"
	"pix/storepath"
)

// buildPaths builds installables. With --log-format internal-json it makes the calls of 'nix build', so that the
// events are the same.
func (a *app) buildPaths(ctx context.Context, s store.Store, installables []derivation.DerivedPath, mode store.BuildMode) error {
	if a.progress.json == nil {
		return store.BuildPaths(ctx, s, installables, mode)
	}
	results, err := store.BuildPathsWithResults(ctx, s, installables, mode)
	if errors.Is(err, errors.ErrUnsupported) { // a daemon before Nix 2.8
		return store.BuildPaths(ctx, s, installables, mode)
	}
	if err != nil {
		return err
	}
	return a.progress.json.failures(results)
}

// failures returns the error of builds. If several failed, it writes an event for each.
//
// Source: throwBuildErrors in src/libcmd/installables.cc.
func (j *jsonLog) failures(results []store.KeyedBuildResult) error {
	failed := slices.DeleteFunc(slices.Clone(results), func(r store.KeyedBuildResult) bool { return r.Status.Succeeded() })
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return &activity.Error{Message: failed[0].Message}
	}
	var names []string
	for _, r := range failed {
		names = append(names, "'"+r.Path.String()+"'")
		if r.Message != "" {
			j.error(&activity.Error{Message: r.Message})
		}
	}
	slices.Sort(names)
	return &activity.Error{Message: "build of \x1b[35;1m" + strings.Join(names, ", ") + "\x1b[0m failed"}
}

// announce writes which paths a build will build and fetch, as 'nix build' does.
//
// Source: printMissing in src/libmain/shared.cc.
func (a *app) announce(ctx context.Context, s store.Store, installables []derivation.DerivedPath) error {
	missing, err := store.QueryMissing(ctx, s, installables)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) {
		a.progress.json.HandleEvent(activity.Log{Level: activity.LevelInfo, Text: fmt.Sprintf(format, args...)})
	}
	list := func(head string, paths []storepath.Path) {
		if len(paths) == 0 {
			return
		}
		say("%s", head)
		for _, p := range paths {
			say("  %s", p)
		}
	}
	drvs, err := inputsFirst(ctx, s, missing.WillBuild)
	if err != nil {
		return err
	}
	list(oneOrMany(len(drvs), "this derivation", "these %d derivations")+" will be built:", drvs)
	slices.SortFunc(missing.WillSubstitute, func(a, b storepath.Path) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(string(a), string(b)))
	})
	list(fmt.Sprintf("%s will be fetched (%s download, %s unpacked):", oneOrMany(len(missing.WillSubstitute), "this path", "these %d paths"),
		sizes.Spell(int64(missing.DownloadSize)), sizes.Spell(int64(missing.NARSize))), missing.WillSubstitute)
	list("don't know how to build these paths:", missing.Unknown)
	return nil
}

// oneOrMany returns the form for a number of things.
func oneOrMany(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// inputsFirst sorts derivations so that each comes after its inputs, in the order of Nix: it visits them by path.
func inputsFirst(ctx context.Context, s store.Store, drvs []storepath.Path) ([]storepath.Path, error) {
	plan, err := planOf(ctx, s, drvs)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]storepath.Path, len(drvs))
	for _, drv := range drvs {
		byName[string(drv)] = drv
	}
	sorted := make([]storepath.Path, 0, len(drvs))
	for _, name := range postorder(plan) {
		sorted = append(sorted, byName[name])
	}
	return sorted, nil
}

// postorder returns the derivations of a plan, each after its inputs. It uses a stack of its own, because a chain of
// inputs may be long.
func postorder(plan live.Plan) (sorted []string) {
	type visit struct {
		drv  string
		next int // the input to visit next
	}
	seen := make(map[string]bool, len(plan))
	for _, root := range slices.Sorted(maps.Keys(plan)) {
		for stack := []visit{{drv: root}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			if top.next == 0 && seen[top.drv] {
				stack = stack[:len(stack)-1]
				continue
			}
			seen[top.drv] = true
			if top.next < len(plan[top.drv]) {
				top.next++
				stack = append(stack, visit{drv: plan[top.drv][top.next-1]})
				continue
			}
			sorted = append(sorted, top.drv)
			stack = stack[:len(stack)-1]
		}
	}
	return sorted
}
