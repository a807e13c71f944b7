package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"pix/profile"
	"pix/store"
)

// deleteOldGenerations deletes old generations of all profiles that this user may change, as nix-collect-garbage -d does. It
// prints their symlinks on standard error, since standard output has the collected paths.
func (a *app) deleteOldGenerations(ctx context.Context, s store.Store, o gcOptions) error {
	if err := onThisMachine(ctx, s, "profiles are symlinks on that machine"); err != nil {
		return err
	}
	sel, err := oldSelection(o.olderThan)
	if err != nil {
		return &usageError{err}
	}
	profiles, err := a.allProfiles(ctx)
	if err != nil {
		return err
	}
	verb := "deleted"
	if o.dryRun {
		verb = "would delete"
	}
	failed := 0
	err = profile.DeleteAll(ctx, profiles, sel, o.dryRun, func(d profile.Deletion) error {
		for _, g := range d.Generations {
			fmt.Fprintf(a.stderr, "pix: %s generation %d of profile '%s'\n", verb, g.Number, visible(d.Profile.Link()))
		}
		if d.Err != nil {
			if _, broken := errors.AsType[*profile.GenerationError](d.Err); !broken { // its owner has to repair it
				failed++
			}
			fmt.Fprintf(a.stderr, "pix: note: %s\n", oneLine(visible(d.Err.Error())))
		}
		return nil
	})
	if err == nil && failed > 0 {
		err = fmt.Errorf("old generations of %s were not deleted", counted(failed, "profile"))
	}
	return err
}

// allProfiles returns the profiles in the directories of the machine and of the user.
func (a *app) allProfiles(ctx context.Context) ([]*profile.Profile, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	l, err := a.locations(ctx)
	if err != nil {
		return nil, err
	}
	var all []*profile.Profile
	for _, root := range l.Search() {
		found, err := profile.Find(ctx, dir, root)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	byDefault, err := l.Default(dir)
	if _, unusable := errors.AsType[*profile.LinkError](err); unusable {
		fmt.Fprintf(a.stderr, "pix: note: %s\n", oneLine(visible(err.Error())))
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	beside, err := profile.FindIn(ctx, dir, filepath.Dir(byDefault.Link()))
	for _, p := range beside {
		if !slices.ContainsFunc(all, func(q *profile.Profile) bool { return q.Link() == p.Link() }) {
			all = append(all, p)
		}
	}
	return all, err
}
