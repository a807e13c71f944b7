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
		short:   "Say whether paths are valid",
		long:    "Say whether paths are valid: a line each, valid or invalid. The exit code is 0 if all are,\n1 if one is not, 3 if it could not be found out.",
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
	cmd.Flags().BoolVar(&substitute, "substitute", false, "let the store try first to get those that are not from its substituters")
	return cmd
}

// areValid says of each path whether it is valid. Many are asked about in one question.
func areValid(ctx context.Context, s store.Store, paths []storepath.Path, substitute bool) ([]bool, error) {
	const inOneQuestion = 10_000
	are := make([]bool, 0, len(paths))
	for some := range slices.Chunk(paths, inOneQuestion) {
		valid, err := s.QueryValidPaths(ctx, slices.Compact(slices.Sorted(slices.Values(some))), substitute)
		if err != nil {
			return nil, err
		}
		for _, p := range some {
			_, there := slices.BinarySearch(valid, p)
			are = append(are, there)
		}
	}
	return are, nil
}

func (a *app) printValid(paths []storepath.Path, valid []bool, asJSON bool) error {
	if err := a.printAnswers(paths, valid, asJSON); err != nil {
		return err
	}
	if slices.Contains(valid, false) {
		return &silentError{exitNo}
	}
	return nil
}

func (a *app) printAnswers(paths []storepath.Path, valid []bool, asJSON bool) error {
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
