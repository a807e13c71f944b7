package main

import (
	"context"
	"slices"

	"pix/activity"
	"pix/cmd/pix/internal/live"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// startPlan computes the plan of a build on a goroutine and passes it to the live view, if there is one. The
// build runs meanwhile. The caller must call stop, which cancels the computation and waits for it. Errors
// are ignored: without the plan the view shows only the builds that the store reports.
func (a *app) startPlan(ctx context.Context, s store.Store, installables []derivation.DerivedPath) (stop func()) {
	view := a.progress.view.Load()
	if view == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(activity.WithHandler(ctx, nil))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if plan, err := buildPlan(ctx, s, installables); err == nil {
			view.Plan(plan)
		}
	}()
	return func() { cancel(); <-done }
}

// buildPlan returns the derivations that a build will build, with their inputs among each other.
func buildPlan(ctx context.Context, s store.Store, installables []derivation.DerivedPath) (live.Plan, error) {
	missing, err := store.QueryMissing(ctx, s, installables)
	if err != nil {
		return nil, err
	}
	return planOf(ctx, s, missing.WillBuild)
}

// planOf returns the plan of building these derivations, which it sorts.
func planOf(ctx context.Context, s store.Store, drvs []storepath.Path) (live.Plan, error) {
	slices.Sort(drvs)
	inputs := make([][]string, len(drvs))
	loader := store.Derivations(s)
	err := forEach(ctx, drvs, func(ctx context.Context, i int) (err error) {
		inputs[i], err = inputsAmong(ctx, loader, drvs[i], drvs)
		return err
	})
	plan := make(live.Plan, len(drvs))
	for i, drv := range drvs {
		plan[string(drv)] = inputs[i]
	}
	return plan, err
}

// inputsAmong returns the inputs of a derivation that are in the sorted list drvs.
func inputsAmong(ctx context.Context, l derivation.Loader, drv storepath.Path, drvs []storepath.Path) ([]string, error) {
	text, err := l.LoadDerivation(ctx, drv)
	if err != nil {
		return nil, err
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		return nil, err
	}
	var among []string
	for input := range d.InputDerivations.All() {
		if i, ok := slices.BinarySearch(drvs, input); ok {
			among = append(among, string(drvs[i])) // not input, a substring that would keep all of text in memory
		}
	}
	return among, nil
}
