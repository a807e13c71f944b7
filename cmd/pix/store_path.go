package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/internal/githash"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// storePathOptions are the flags of store-path.
type storePathOptions struct {
	name, method, algorithm, hash string
}

func newStorePath(a *app) *cobra.Command {
	var o storePathOptions
	cmd := &cobra.Command{
		Use:   "store-path [PATH]",
		Short: "Print the store path that contents, or a hash, would get",
		Long: `Print the store path that a file or directory would get as a source, without adding it. With
--hash there is no PATH: the path of any contents with that hash, which a derivation with a fixed
output hash has, too. --mode and --hash-algo are as in pix add.`,
		Example: "  pix store-path ./src --name my-source\n" +
			"  pix store-path --mode flat --hash sha256-ungWv...FAI= --name hello.tar.gz",
		GroupID: groupFiles,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return wrongUse(cmd, err)
			}
			address, err := parseAddressing(o.method, o.algorithm)
			if err != nil {
				return wrongUse(cmd, err)
			}
			dir, err := a.dir()
			if err != nil {
				return err
			}
			if err := o.setName(args); err != nil {
				return err
			}
			var ca storepath.ContentAddress
			if o.hash != "" {
				ca, err = o.givenAddress(address, cmd.Flags().Changed("hash-algo"))
			} else {
				ca, err = a.contentAddress(cmd.Context(), args[0], address)
			}
			if err != nil {
				return err
			}
			path, err := dir.FixedOutputPath(o.name, ca, storepath.References{})
			if err != nil {
				return err
			}
			return a.print(string(path) + "\n")
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "", "the `name` of the store object (default the last part of PATH)")
	cmd.Flags().StringVar(&o.hash, "hash", "", "the `hash` of the contents, in base 16, Nix's base 32, base 64 or SRI form, instead of PATH")
	addAddressingFlags(cmd, &o.method, &o.algorithm)
	freeValue(cmd, "name")
	freeValue(cmd, "hash")
	return cmd
}

// check checks that the flags and the arguments fit together.
func (o *storePathOptions) check(args []string) error {
	switch {
	case o.hash != "" && len(args) > 0:
		return errors.New("PATH and --hash exclude each other")
	case o.hash == "" && len(args) == 0:
		return errors.New("PATH or --hash is missing")
	case o.hash != "" && o.name == "":
		return errors.New("a hash has no name; give the store object one with --name")
	}
	return nil
}

// setName sets the name, by default the last part of PATH, and checks it.
func (o *storePathOptions) setName(args []string) (err error) {
	if o.name == "" {
		if o.name, err = sourceName(args[0]); err != nil {
			return err
		}
	}
	if err := storepath.CheckName(o.name); err != nil {
		return &usageError{fmt.Errorf("%w; give the store object a name with --name", err)}
	}
	return nil
}

// givenAddress returns the content address with the hash of --hash.
func (o *storePathOptions) givenAddress(address addressing, algorithmGiven bool) (storepath.ContentAddress, error) {
	h, err := parseHash(o.hash, address.algorithm, algorithmGiven)
	if err != nil {
		return storepath.ContentAddress{}, err
	}
	return storepath.NewContentAddress(address.method, h)
}

// parseHash parses a hash of a flag. It may name its algorithm, which is algo if the user has given that.
func parseHash(text string, algo nixhash.Algorithm, given bool) (nixhash.Hash, error) {
	h, err := nixhash.ParseAny(text, algo)
	if err != nil && !given {
		if named, namedErr := nixhash.Parse(text); namedErr == nil {
			return named, nil
		}
	}
	if err != nil {
		return h, &usageError{err}
	}
	return h, nil
}

// contentAddress returns the content address of a file or directory, or of a stream.
func (a *app) contentAddress(ctx context.Context, arg string, address addressing) (ca storepath.ContentAddress, err error) {
	var h nixhash.Hash
	if address.method == storepath.Flat || address.method == storepath.Text {
		h, _, err = a.hashFile(ctx, arg, address.algorithm)
	} else {
		h, err = a.treeHash(ctx, arg, address)
	}
	if err != nil {
		return ca, err
	}
	return storepath.NewContentAddress(address.method, h)
}

// treeHash returns the hash of the archive of a file or directory, or its git hash.
func (a *app) treeHash(ctx context.Context, arg string, address addressing) (nixhash.Hash, error) {
	file, remove, err := a.asFile(ctx, arg)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer remove()
	if address.method == storepath.NAR {
		h, _, err := nar.HashPath(ctx, file, address.algorithm, nil)
		return h, err
	}
	abs, err := filepath.Abs(file) // "." has no name
	if err != nil {
		return nixhash.Hash{}, err
	}
	root, err := os.OpenRoot(filepath.Dir(abs))
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer root.Close()
	return githash.Hash(ctx, root, filepath.Base(abs), address.algorithm)
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
