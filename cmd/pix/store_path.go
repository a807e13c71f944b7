package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

func newStorePath(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "store-path PATH",
		Short:   "Print the store path that a file or directory would get as a source",
		Example: "  pix store-path ./src --name my-source",
		GroupID: groupFiles,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.dir()
			if err != nil {
				return err
			}
			if name == "" {
				if name, err = sourceName(args[0]); err != nil {
					return err
				}
			}
			if err := storepath.CheckName(name); err != nil {
				return &usageError{fmt.Errorf("%w; give the store object a name with --name", err)}
			}
			file, remove, err := a.asFile(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer remove()
			h, _, err := nar.HashPath(cmd.Context(), file, nixhash.SHA256, nil)
			if err != nil {
				return err
			}
			path, err := dir.SourcePath(name, h, storepath.References{})
			if err != nil {
				return err
			}
			return a.print(string(path) + "\n")
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `name` of the store object (default the last part of PATH)")
	freeValue(cmd, "name")
	return cmd
}

// sourceName returns the name of the file at path as a store object.
func sourceName(path string) (string, error) {
	if isStream(path) {
		return "", &usageError{fmt.Errorf("%s has no name; give the store object one with --name", inputName(path))}
	}
	abs, err := filepath.Abs(path) // "." has no name
	if err != nil {
		return "", err
	}
	return filepath.Base(abs), nil
}
