package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newPathInfo(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "path-info PATH...",
		Short:   "Print what the store knows of paths",
		Example: "  pix path-info /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt",
		GroupID: groupStore,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			infos, err := a.pathInfos(cmd.Context(), args)
			if err != nil {
				return err
			}
			if asJSON {
				text, err := pathInfosJSON(infos)
				if err != nil {
					return err
				}
				return a.print(text)
			}
			return a.print(pathInfosText(infos))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "everything, as a JSON object keyed by path")
	return cmd
}

// pathInfos asks for all paths at once: the store answers them in one round trip.
func (a *app) pathInfos(ctx context.Context, args []string) ([]*store.PathInfo, error) {
	paths, err := a.paths(args)
	if err != nil {
		return nil, err
	}
	s, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	infos := make([]*store.PathInfo, len(paths))
	err = forEach(ctx, paths, func(ctx context.Context, i int) (err error) {
		infos[i], err = s.QueryPathInfo(ctx, paths[i])
		return err
	})
	return infos, err
}

func pathInfosText(infos []*store.PathInfo) string {
	var b strings.Builder
	for i, info := range infos {
		if len(infos) > 1 {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "path: %s\n", info.Path)
		}
		fmt.Fprintf(&b, "deriver: %s\n", info.Deriver)
		fmt.Fprintf(&b, "nar-hash: %s\n", info.NARHash.WithBase16())
		fmt.Fprintf(&b, "nar-size: %d\n", info.NARSize)
		fmt.Fprintf(&b, "references: %s\n", joinPaths(info.References))
		fmt.Fprintf(&b, "sigs: %s\n", strings.Join(info.Signatures, " "))
	}
	return b.String()
}

func joinPaths(paths []storepath.Path) string {
	words := make([]string, len(paths))
	for i, p := range paths {
		words[i] = string(p)
	}
	return strings.Join(words, " ")
}
