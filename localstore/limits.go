package localstore

import (
	"pix/derivation"
	"pix/store"
)

// ClosureLimits implements [store.Limiter]. The infos in the database are trusted, because they were
// checked when they were added.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), s }

// ClosureLimits implements [store.Limiter].
func (d *drvStore) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), d }
