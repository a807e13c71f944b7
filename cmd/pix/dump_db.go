package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

func newDumpDB(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump-db [PATH...]",
		Short: "Print the registrations of paths, for load-db",
		Long: `Print the registrations of all valid paths, or of some, in the format of nix-store --dump-db: hash,
size, deriver and references of each. They have no signatures. 'pix load-db' and nix-store
--load-db register the paths in another store.`,
		Example:           "  pix dump-db > registration\n  pix dump-db /nix/store/...-hello",
		GroupID:           groupKeeping,
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				paths, err := objectsOf(ctx, s, names)
				if err == nil && len(names) == 0 {
					paths, err = store.AllValidPaths(ctx, s)
				}
				if err != nil {
					return err
				}
				return a.dumpDB(ctx, s, paths)
			})
		},
	}
	return cmd
}

// dumpDB prints the registrations of paths.
func (a *app) dumpDB(ctx context.Context, s store.Store, paths []storepath.Path) error {
	const perQuery = 10_000
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	var text []byte
	for chunk := range slices.Chunk(paths, perQuery) {
		infos, err := store.PathInfos(ctx, s, chunk)
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		for _, info := range infos {
			text = info.AppendRegistration(text[:0])
			if _, err := out.Write(text); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

func newLoadDB(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "load-db",
		Short: "Register paths whose files are in the store directory already",
		Long: `Register the paths of registrations on standard input, which 'pix dump-db' and nix-store --dump-db
print. The store must be in a directory, and the files of the paths must be there already, as in
an image of a disk. As in Nix, only derivations are read: 'pix verify --all --no-trust' compares
the files with the hashes. All paths are registered or none. Every reference must be registered
before or together with its path. Paths that are valid already get the new hash and size, and lose
their signatures.`,
		Example: "  pix load-db --store /mnt < registration",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toCreate, a.loadDB)
		},
	}
}

// loadDB registers the paths on standard input.
func (a *app) loadDB(ctx context.Context, s store.Store) error {
	local, ok := store.As[*localstore.Store](s)
	if !ok {
		return &store.UnsupportedError{Store: s, What: "register paths without their contents"}
	}
	if isTerminal(a.stdin) {
		return &usageError{errors.New("standard input is a terminal: redirect registrations to it")}
	}
	in := readAhead(ctx, a.stdin)
	defer in.Close()
	var infos []*store.PathInfo
	for info, err := range store.ParseRegistrations(in, s.Dir()) {
		if limit, ok := errors.AsType[*store.LimitError](err); ok { // the user cannot raise it
			return fmt.Errorf("%s; load them in several parts, references first", limit.Error())
		}
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	return local.RegisterValidPaths(ctx, infos)
}
