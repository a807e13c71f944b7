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

// showPlan finds out what is going to be built, and tells the live view, if there is one,
// while the build goes on already. What it returns ends that, and waits until it has ended.
// Without the plan the view shows less, so what goes wrong here is nobody's concern.
func (a *app) showPlan(ctx context.Context, s store.Store, installables []derivation.DerivedPath) (end func()) {
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

// buildPlan returns what is going to be built, and which of it needs which.
func buildPlan(ctx context.Context, s store.Store, installables []derivation.DerivedPath) (live.Plan, error) {
	missing, err := store.QueryMissing(ctx, s, installables)
	if err != nil {
		return nil, err
	}
	drvs := missing.WillBuild
	slices.Sort(drvs)
	inputs := make([][]string, len(drvs))
	loader := store.Derivations(s)
	err = forEach(ctx, drvs, func(ctx context.Context, i int) (err error) {
		inputs[i], err = inputsAmong(ctx, loader, drvs[i], drvs)
		return err
	})
	plan := make(live.Plan, len(drvs))
	for i, drv := range drvs {
		plan[string(drv)] = inputs[i]
	}
	return plan, err
}

// inputsAmong returns those inputs of a derivation that are among others, which are sorted.
func inputsAmong(ctx context.Context, l derivation.Loader, drv storepath.Path, others []storepath.Path) ([]string, error) {
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
		if i, ok := slices.BinarySearch(others, input); ok {
			among = append(among, string(others[i])) // not input, which would hold all of text
		}
	}
	return among, nil
}
