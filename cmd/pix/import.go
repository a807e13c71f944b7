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
		Short: "Add the paths of an export on standard input to the store",
		Long: `Add the paths of an export on standard input to the store, and print them in the order of the
stream. 'pix export' and 'nix-store --export' write such streams; several streams can follow one
another. A stream has no signatures, so the store must trust you. Paths that were added before an
error stay.`,
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
		return nil, &usageError{errors.New("standard input is a terminal: redirect an export to it")}
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

// lacksSignature reports whether a store refused an object that no trusted key has signed. Daemons report that only
// in the text of the message.
func lacksSignature(err error) bool {
	var reported *activity.Error
	return errors.As(err, new(*store.UntrustedError)) ||
		errors.As(err, &reported) && strings.Contains(reported.Message, "lacks a ") && strings.Contains(reported.Message, "signature")
}

// hasOtherAddress reports whether a daemon computed another content address for an object. That happens if the
// object refers to itself and was made by a Nix with the other rules for such addresses.
func hasOtherAddress(err error) bool {
	var reported *activity.Error
	return errors.As(err, &reported) && strings.Contains(reported.Message, "ca hash mismatch importing path")
}

const otherAddressAdvice = `If the object refers to itself: Nix 2.17 to 2.34 and all other versions refuse each other's content addresses of such objects. 'pix make-content-addressed --rules 2.34' or '--rules 2.36' makes a copy for such a store.`
