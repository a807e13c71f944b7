package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func newIsValid(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "is-valid PATH...",
		Short:   "Say whether paths are valid",
		Long:    "Say whether paths are valid: a line each, valid or invalid. The exit code is 0 if all are,\n1 if one is not, 3 if it could not be found out.",
		Example: "  pix is-valid /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt",
		GroupID: groupStore,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			valid, err := a.areValid(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.printValid(valid)
		},
	}
}

// areValid says of each path whether it is valid. Whatever keeps it from that is an
// [unknownError], unless the paths are at fault.
func (a *app) areValid(ctx context.Context, args []string) ([]bool, error) {
	paths, err := a.paths(args)
	if err != nil {
		return nil, err
	}
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	valid := make([]bool, len(paths))
	err = forEach(ctx, paths, func(ctx context.Context, i int) (err error) {
		valid[i], err = s.IsValidPath(ctx, paths[i])
		return err
	})
	if err != nil {
		return nil, &unknownError{err}
	}
	return valid, nil
}

func (a *app) printValid(valid []bool) error {
	var b strings.Builder
	all := true
	for _, v := range valid {
		if v {
			b.WriteString("valid\n")
		} else {
			b.WriteString("invalid\n")
			all = false
		}
	}
	if err := a.print(b.String()); err != nil {
		return err
	}
	if !all {
		return &silentError{exitNo}
	}
	return nil
}
