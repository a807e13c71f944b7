package builder

import (
	"context"
	"net"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A Request asks for the outputs of one derivation. The paths that the derivation needs must be valid, and roots must
// protect them from collectors.
type Request struct {
	// Path is the store path of the derivation, and Derivation its contents; all inputs are resolved.
	Path       storepath.Path
	Derivation *derivation.Derivation

	// Inputs are the outputs of input derivations that the derivation uses, by derivation and output name.
	// Together with the input sources, they are the roots of the input closure.
	Inputs map[storepath.Path]map[string]storepath.Path

	// Wanted are the names of the outputs that the caller wants. Nil is all.
	Wanted []string

	Mode store.BuildMode

	// Serve serves a store to a builder with the feature recursive-nix, until ctx ends, and closes the listener. The
	// store knows the paths of the scope. Everything that the clients have started ends before Serve returns. Nil makes
	// such a derivation an error.
	Serve func(ctx context.Context, l net.Listener, scope *Scope) error
}
