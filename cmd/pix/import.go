package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

func newImport(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Add the paths in the stream of export on standard input to the store",
		Long: `Add the paths in the stream on standard input, as 'pix export' and 'nix-store --export' write it, to
the store, and print them in the order in which they came. The stream has no signatures, so the
store must trust you. After an error, paths that were added before it stay.`,
		Example: "  pix import < hello.export",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toCreate, func(ctx context.Context, s store.Store) error {
				paths, err := a.importPaths(ctx, s)
				if err != nil {
					return err
				}
				return a.printPaths(paths, asJSON)
			})
		},
	}
	addPathsJSONFlag(cmd, &asJSON)
	return cmd
}

func (a *app) importPaths(ctx context.Context, s store.Store) (paths []storepath.Path, err error) {
	if isTerminal(a.stdin) {
		return nil, &usageError{errors.New("standard input is a terminal: redirect the stream of an export to it")}
	}
	in := readAhead(ctx, a.stdin)
	defer in.Close()
	err = store.InSession(ctx, s, func(s store.Store) error {
		paths, err = store.ImportPaths(ctx, s, in, &store.AddOptions{NoSignatures: true})
		return err
	})
	if lacksSignature(err) {
		err = fmt.Errorf("%w; an export has none, so the store must trust you: see trusted-users in its nix.conf", err)
	} else if hasOtherAddress(err) {
		err = fmt.Errorf("%w\n%s", err, otherAddressAdvice)
	}
	return paths, err
}

// lacksSignature reports whether a daemon has refused an object because nobody whom it trusts
// has signed it. All versions of Nix say it in words only.
func lacksSignature(err error) bool {
	var said *activity.Error
	var untrusted *store.UntrustedError
	return errors.As(err, &untrusted) ||
		errors.As(err, &said) && strings.Contains(said.Message, "lacks a ") && strings.Contains(said.Message, "signature")
}

// hasOtherAddress reports whether a daemon computed another content address for an object. It does so
// if the object mentions its own path and was made by a Nix that has the other form of the address.
func hasOtherAddress(err error) bool {
	var said *activity.Error
	return errors.As(err, &said) && strings.Contains(said.Message, "ca hash mismatch importing path")
}

const otherAddressAdvice = `If the object mentions its own path: Nix 2.17 to 2.34 refuses what all other versions have made, and they refuse what it has made. 'pix make-content-addressed --rules 2.34' or '--rules 2.36' makes it again for such a store.`
