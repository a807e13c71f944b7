package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/store"
)

func newAddText(a *app) *cobra.Command {
	var references []string
	cmd := &cobra.Command{
		Use:               "add-text NAME [CONTENT]",
		Short:             "Add a text to the store, as builtins.toFile does",
		Long:              "Add a text to the store, as builtins.toFile does, and print its path. The content is read\nfrom standard input if it is - or left out. The text is not scanned for references; name them\nwith --reference.",
		Example:           "  pix add-text hello.txt \"hello world\"\n  pix add-text list \"/nix/store/...-hello\" --reference /nix/store/...-hello",
		GroupID:           groupStore,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args:              cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := a.follow(cmd.Context())
			names, err := a.names(references)
			if err != nil {
				return err
			}
			content, err := a.content(ctx, args[1:])
			if err != nil {
				return err
			}
			s, err := a.open(ctx, toCreate)
			if err != nil {
				return err
			}
			defer s.Close()
			refs, err := objectsOf(ctx, s, names)
			if err != nil {
				return err
			}
			path, err := store.AddText(ctx, s, args[0], content, refs)
			if err != nil {
				return err
			}
			return a.print(string(path) + "\n")
		},
	}
	cmd.Flags().StringArrayVar(&references, "reference", nil, "a valid `path` that the text refers to; may be repeated")
	completeFlag(cmd, "reference", a.completePaths)
	return cmd
}

// content returns the content given as an argument, or else standard input.
func (a *app) content(ctx context.Context, args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	text, err := a.readSmall(ctx, "-", maxText)
	return string(text), err
}
