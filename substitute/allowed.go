package substitute

import (
	"context"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// allowsSubstitutes reports whether the outputs of a valid derivation may be substituted. It records the
// content addresses of fixed outputs, by which substituters with another store directory are asked.
func (c *call) allowsSubstitutes(ctx context.Context, drv storepath.Path) (bool, error) {
	s := c.store.Store
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
	for _, output := range d.Outputs.All() {
		if path, ca := output.Path(), output.ContentAddress(); output.Kind() == derivation.Fixed && path != "" {
			c.cas[path] = ca
		}
	}
	return d.AllowsSubstitutes()
}
