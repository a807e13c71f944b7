package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newIsValid(a *app) *cobra.Command {
	var asJSON bool
	cmd := newPathVerb(a, pathVerb{
		use:     "is-valid PATH...",
		short:   "Say whether paths are valid",
		long:    "Say whether paths are valid: a line each, valid or invalid. The exit code is 0 if all are,\n1 if one is not, 3 if it could not be found out.",
		example: "  pix is-valid /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			valid := make([]bool, len(paths))
			err := forEach(ctx, paths, func(ctx context.Context, i int) (err error) {
				valid[i], err = s.IsValidPath(ctx, paths[i])
				return err
			})
			if err != nil {
				return &unknownError{err}
			}
			return a.printValid(paths, valid, asJSON)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object of true and false, keyed by path")
	return cmd
}

func (a *app) printValid(paths []storepath.Path, valid []bool, asJSON bool) error {
	object := make(map[storepath.Path]bool, len(paths))
	var b strings.Builder
	all := true
	for i, v := range valid {
		object[paths[i]] = v
		if v {
			b.WriteString("valid\n")
		} else {
			b.WriteString("invalid\n")
			all = false
		}
	}
	if err := a.printEither(b.String(), object, asJSON); err != nil {
		return err
	}
	if !all {
		return &silentError{exitNo}
	}
	return nil
}
