package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"pix/builder/sandbox"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// A pathVerb is a verb that works on paths of a store, which are arguments or, with --stdin, lines of standard
// input.
type pathVerb struct {
	use, short, long, example string

	check func() error // checks the flags; may be nil

	complete completer // nil completes store paths

	ofDerivations bool // outputs stand for their derivations

	all *bool // not nil adds the flag --all, for all valid paths of the store

	access func() storeAccess // nil is toRead

	// run does the work with at least one path.
	run func(ctx context.Context, s store.Store, paths []storepath.Path) error

	// list is an alternative to run for verbs that print paths. It adds the flag --json.
	list func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error)
}

// newPathVerb returns the command for v.
func newPathVerb(a *app, v pathVerb) *cobra.Command {
	var stdin, asJSON bool
	all := cmp.Or(v.all, new(bool))
	cmd := &cobra.Command{
		Use:     v.use,
		Short:   v.short,
		Long:    v.long,
		Example: v.example,
		GroupID: groupStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.check != nil {
				if err := v.check(); err != nil {
					return wrongUse(cmd, err)
				}
			}
			args, err := a.namesOrAll(cmd, args, stdin, *all)
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			access := toRead
			if v.access != nil {
				access = v.access()
			}
			return a.withStore(cmd.Context(), access, func(ctx context.Context, s store.Store) error {
				resolve := objectsOf
				if v.ofDerivations {
					resolve = derivationsOf
				}
				if *all {
					resolve = allObjects
				}
				paths, err := resolve(ctx, s, names)
				if err != nil {
					return err
				}
				return v.runOn(ctx, a, s, paths, asJSON)
			})
		},
		ValidArgsFunction: v.complete,
	}
	if v.complete == nil {
		cmd.ValidArgsFunction = a.completeInstallables
	}
	addStdinFlag(cmd, &stdin)
	if v.all != nil {
		cmd.Flags().BoolVar(all, "all", false, "all valid paths of the store")
	}
	if v.list != nil {
		addPathsJSONFlag(cmd, &asJSON)
	}
	return cmd
}

// runOn calls run, or prints what list returns.
func (v *pathVerb) runOn(ctx context.Context, a *app, s store.Store, paths []storepath.Path, asJSON bool) error {
	if v.list == nil {
		return v.run(ctx, s, paths)
	}
	found, err := v.list(ctx, s, paths)
	if err != nil {
		return err
	}
	return a.printPaths(found, asJSON)
}

// namesOrAll returns the arguments and the lines of standard input, which --all excludes.
func (a *app) namesOrAll(cmd *cobra.Command, args []string, stdin, all bool) ([]string, error) {
	switch {
	case !all:
		return a.withStdin(cmd, args, stdin)
	case len(args) > 0 || stdin:
		return nil, wrongUse(cmd, errors.New("--all is for all paths of the store, so PATH and --stdin exclude it"))
	}
	return nil, nil
}

// allObjects returns all valid paths of the store.
func allObjects(ctx context.Context, s store.Store, _ []storeName) ([]storepath.Path, error) {
	return store.AllValidPaths(ctx, s)
}

// withStore calls work with the opened store and closes it afterwards. The context shows what the store does on
// standard error.
func (a *app) withStore(ctx context.Context, access storeAccess, work func(context.Context, store.Store) error) error {
	return a.withStoreOpened(ctx, openOptions{access: access, waited: access == toRead}, work)
}

// withStoreOpened is withStore with more options.
func (a *app) withStoreOpened(ctx context.Context, o openOptions, work func(context.Context, store.Store) error) error {
	ctx = a.follow(ctx)
	s, err := a.openWith(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return adviceOnFullDisk(s, work(ctx, s))
}

// withTwoStores calls work with the stores of --from and --to, and closes them afterwards.
func (a *app) withTwoStores(ctx context.Context, from, to string, work func(ctx context.Context, src, dst store.Store) error) error {
	ctx = a.follow(ctx)
	src, err := a.openWith(ctx, openOptions{uri: from, access: toRead})
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := a.openWith(ctx, openOptions{uri: to, access: toCreate})
	if err != nil {
		return err
	}
	defer dst.Close()
	return work(ctx, src, dst)
}

// adviceOnFullDisk adds advice to an error of a store in a directory if its disk is full. The full disk can also be the one
// of standard output or of a temporary file.
func adviceOnFullDisk(s store.Store, err error) error {
	if _, ok := errors.AsType[*sandbox.SetupError](err); ok {
		return err // ENOSPC is a limit of namespaces
	}
	if !isFullDisk(err) {
		return err
	}
	local, ok := store.As[*localstore.Store](s)
	if inFile, named := errors.AsType[*fs.PathError](err); ok && (!named || onSameDisk(inFile.Path, local.StoreDirName())) {
		return fmt.Errorf("%w; 'pix gc' deletes paths that no root needs, and works on a full disk", err)
	}
	return err
}

// isFullDisk reports whether an error says that a file system or a quota is full.
func isFullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// onSameDisk reports whether a file, or the directory of a file that does not exist, may be on the same file system as dir.
func onSameDisk(file, dir string) bool {
	info, err := os.Stat(file)
	if err != nil {
		info, err = os.Stat(filepath.Dir(file))
	}
	if err != nil {
		return true // unknown
	}
	other, err := os.Stat(dir)
	return err != nil || info.Sys().(*syscall.Stat_t).Dev == other.Sys().(*syscall.Stat_t).Dev
}
