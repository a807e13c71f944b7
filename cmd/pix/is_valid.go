package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newIsValid(a *app) *cobra.Command {
	var asJSON, substitute bool
	cmd := newPathVerb(a, pathVerb{
		use:     "is-valid PATH...",
		short:   "Print whether paths are valid",
		long:    "Print whether paths are valid: a line each, valid or invalid. The exit code is 0 if all are valid,\n1 if one is not, 3 if it could not be determined.",
		example: "  pix is-valid /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt",
		access: func() storeAccess {
			if substitute {
				return toCreate
			}
			return toRead
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			valid, err := areValid(ctx, s, paths, substitute)
			if err != nil {
				return &unknownError{err}
			}
			return a.printValid(paths, valid, asJSON)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object of true and false, keyed by path")
	cmd.Flags().BoolVar(&substitute, "substitute", false, "let the store try its substituters first for paths that are not valid")
	return cmd
}

// areValid returns for each path whether it is valid. It queries many paths at once.
func areValid(ctx context.Context, s store.Store, paths []storepath.Path, substitute bool) ([]bool, error) {
	const perQuery = 10_000
	results := make([]bool, 0, len(paths))
	for chunk := range slices.Chunk(paths, perQuery) {
		valid, err := s.QueryValidPaths(ctx, slices.Compact(slices.Sorted(slices.Values(chunk))), substitute)
		if err != nil {
			return nil, err
		}
		for _, p := range chunk {
			_, ok := slices.BinarySearch(valid, p)
			results = append(results, ok)
		}
	}
	return results, nil
}

// printValid prints the results, and returns the error for exit code 1 if a path is not valid.
func (a *app) printValid(paths []storepath.Path, valid []bool, asJSON bool) error {
	if err := a.printValidity(paths, valid, asJSON); err != nil {
		return err
	}
	if slices.Contains(valid, false) {
		return &silentError{exitNo}
	}
	return nil
}

func (a *app) printValidity(paths []storepath.Path, valid []bool, asJSON bool) error {
	if asJSON {
		object := make(map[storepath.Path]bool, len(paths))
		for i, v := range valid {
			object[paths[i]] = v
		}
		return a.printJSON(object)
	}
	var b strings.Builder
	for _, v := range valid {
		if v {
			b.WriteString("valid\n")
		} else {
			b.WriteString("invalid\n")
		}
	}
	return a.print(b.String())
}
