package store

import (
	"context"

	"pix/signature"
	"pix/storepath"
)

// A SignatureKeeper is a [Signer] that can also remove signatures. A server needs this to limit how
// many signatures untrusted users add to a path: every user may add some, and every answer about
// the path contains them.
type SignatureKeeper interface {
	// TrustedKeys returns the keys whose signatures the store trusts.
	TrustedKeys() signature.KeySet

	// UpdateSignatures gives a valid path the signatures that update returns, which must be
	// canonical ([signature.Canonical]). update gets the info of the path, and must neither
	// change it nor use the store. No other update of the path happens in between; so update
	// may be called again.
	UpdateSignatures(ctx context.Context, path storepath.Path, update func(*PathInfo) []string) error
}
