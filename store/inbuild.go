package store

import (
	"context"
	"io"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// These are capabilities of the store that a running build talks to. No other store has them.
type (
	// A ScanningAdder takes objects by their contents, as an [Adder], and finds out itself which
	// paths of the build they refer to.
	ScanningAdder interface {
		AddToStoreScanning(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*PathInfo, error)
	}

	// An OutputSubmitter takes from the build which path is its output of that name.
	OutputSubmitter interface {
		SubmitOutput(ctx context.Context, path derivation.SingleDerivedPath, output string) error
	}
)
