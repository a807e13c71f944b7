package substitute

import (
	"context"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// allowsSubstitutes reports whether outputs of a valid derivation may come from elsewhere.
func allowsSubstitutes(ctx context.Context, s store.Store, drv storepath.Path) (bool, error) {
	lent, release := store.LendDerivations(s)
	defer release()
	text, err := store.Derivations(lent).LoadDerivation(ctx, drv)
	if err != nil {
		return false, err
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		return false, err
	}
	if kind, err := d.Kind(); err != nil || kind == derivation.Impure {
		return false, err
	}
	return d.AllowsSubstitutes()
}
